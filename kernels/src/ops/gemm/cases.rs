//! The inputs on which linear layers are verified.

use super::{
    Epilogue, gemm, gemm_add, gemm_f32, gemm_gate, gemm_gelu, gemm_swiglu, reference as formula,
};
use crate::case::{Case, Inputs, Trial};
use crate::weight::Linear;
use crate::{DType, reference};

/// Rows of one, of a tile and past it; widths that no vector divides, of several pieces, of tasks
/// of full length; stacks; every type.
pub(super) fn cases(epilogue: Epilogue) -> Vec<Case> {
    let mut cases = Vec::new();
    if let Epilogue::Gate = epilogue {
        // More stages of depth than a GPU's ring has, of both kinds of gate.
        for size in [
            (3, 1, 404),
            (17, 1, 404),
            (3, 2, 404),
            (17, 2, 404),
            (17, 2, 405),
        ] {
            cases.push(case(epilogue, DType::F32, size));
        }
    }
    for (m, k, n) in [
        (1, 64, 48),
        (3, 100, 130),
        (97, 80, 66),
        (6, 257, 4),
        (7, 2570, 10),
        (1, 24, 8_500),
        (0, 32, 16),
        (17, 264, 132),
        (17, 263, 203),
    ] {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            cases.push(case(epilogue, dtype, (m, k, n)));
        }
    }
    cases
}

fn case(epilogue: Epilogue, dtype: DType, (m, k, n): (usize, usize, usize)) -> Case {
    let (k, sizes) = match epilogue {
        Epilogue::SwiGlu => (k, vec![n, n]),
        // A gate per channel on odd sizes, one per token on the others.
        Epilogue::Gate if k % 2 == 1 => (2 * n, vec![n]),
        Epilogue::Gate => (2 * n, vec![1]),
        _ => (k, vec![n, n / 2 + 1]),
    };
    let outputs: usize = sizes.iter().sum();
    Case::new(format!("{m}x{k}x{outputs} {dtype}"), 1e-6, move |cx| {
        let mut inputs = Inputs::new(cx, (m * k + n) as u64);
        let x = inputs.normal(m * k, 1.0);
        let before = inputs.normal(m * outputs, 1.0);
        let mut parts = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            // As for k beside q and v: not every part of a stack has a bias.
            let layer = inputs.linear(dtype, *size, k, i == 0)?;
            parts.extend(layer.parts().iter().cloned());
        }
        let w = Linear::stack(parts)?;
        let device_x = cx.upload(&x, k)?;
        let (x64, before64) = (reference::widen(&x), reference::widen(&before));
        let w64 = w.clone();
        Ok(Trial::new(
            move |cx| match epilogue {
                Epilogue::Store => gemm(cx, &device_x, &w)?.to_vec(),
                Epilogue::F32 => gemm_f32(cx, &device_x, &w)?.to_vec(),
                Epilogue::Gelu => gemm_gelu(cx, &device_x, &w)?.to_vec(),
                Epilogue::SwiGlu => gemm_swiglu(cx, &device_x, &w)?.to_vec(),
                Epilogue::Gate => gemm_gate(cx, &device_x, &w)?.to_vec(),
                Epilogue::Add => {
                    let mut out = cx.upload(&before, outputs)?;
                    gemm_add(cx, &device_x, &w, &mut out)?;
                    out.to_vec()
                }
            },
            move || formula(&x64, &w64, &before64, epilogue),
        ))
    })
}
