//! The inputs on which linear layers are verified.

use super::{
    Epilogue, gemm, gemm_add, gemm_f32, gemm_gate, gemm_gelu, gemm_swiglu, reference as formula,
};
use crate::case::{Case, Inputs, Trial, behind_nan};
use crate::weight::Linear;
use crate::{DType, reference};

/// Rows of one, of a tile and past it; widths that no vector divides, of several pieces, of tasks
/// of full length; stacks; every type.
pub(super) fn cases(epilogue: Epilogue) -> Vec<Case> {
    let mut cases = Vec::new();
    if let Epilogue::Gate = epilogue {
        // More stages of depth than a GPU's ring has, of both kinds of gate; streams that end within
        // a vector.
        for size in [
            (1, 1, 6),
            (1, 2, 6),
            (3, 1, 404),
            (3, 1, 405),
            (17, 1, 404),
            (3, 2, 404),
            (17, 2, 404),
            (17, 2, 405),
            (17, 1, 37),
        ] {
            cases.push(Layer::new(epilogue, DType::F32, size).case());
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
            cases.push(Layer::new(epilogue, dtype, (m, k, n)).case());
        }
    }
    if let Epilogue::Gelu = epilogue {
        // A residual stream, rounded first.
        for size in [(5, 72, 20), (5, 67, 20)] {
            let layer = Layer::new(epilogue, DType::BF16, size);
            let stream = true;
            cases.push(Layer { stream, ..layer }.case());
        }
    }
    for size in [(3, 41, 24), (17, 41, 24), (3, 40, 24), (17, 40, 24)] {
        let layer = Layer::new(epilogue, DType::BF16, size);
        let biases = false;
        cases.push(Layer { biases, ..layer }.case());
    }
    cases
}

/// A linear layer of a case.
#[derive(Clone, Copy)]
struct Layer {
    epilogue: Epilogue,
    dtype: DType,
    /// Rows, inputs, outputs of the first part.
    size: (usize, usize, usize),
    /// Whether x is a residual stream.
    stream: bool,
    /// Whether the first part has a bias.
    biases: bool,
}

impl Layer {
    fn new(epilogue: Epilogue, dtype: DType, size: (usize, usize, usize)) -> Layer {
        Layer {
            epilogue,
            dtype,
            size,
            stream: matches!(epilogue, Epilogue::Gate),
            biases: true,
        }
    }

    fn case(self) -> Case {
        let Layer {
            epilogue,
            dtype,
            size: (m, k, n),
            stream,
            biases,
        } = self;
        let (k, sizes) = match epilogue {
            Epilogue::SwiGlu => (k, vec![n, n]),
            // A gate per channel on odd sizes, one per token on the others.
            Epilogue::Gate if k % 2 == 1 => (2 * n, vec![n]),
            Epilogue::Gate => (2 * n, vec![1]),
            _ => (k, vec![n, n / 2 + 1]),
        };
        let outputs: usize = sizes.iter().sum();
        let of = if stream { " of f32" } else { "" };
        let without = if biases { "" } else { ", no bias" };
        let name = format!("{m}x{k}x{outputs} {dtype}{of}{without}");
        let case = Case::new(name, 1e-6, move |cx| {
            let mut inputs = Inputs::new(cx, (m * k + n) as u64);
            let x = match stream {
                true => inputs.floats(m * k, 1.0),
                false => inputs.normal(m * k, 1.0),
            };
            let rounded: Vec<f32> = x.iter().map(|x| cx.dtype().round(*x)).collect();
            let before = inputs.floats(m * outputs, 1.0);
            let mut parts = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                // As for k beside q and v: not every part of a stack has a bias.
                let layer = inputs.linear(dtype, *size, k, biases && i == 0)?;
                parts.extend(layer.parts().iter().cloned());
            }
            let w = Linear::stack(parts)?;
            // The last columns of wider rows, such that the gate's second stream begins at a vector.
            let lead = if stream { n.next_multiple_of(4) - n } else { 0 };
            let device_x = match stream {
                true => cx.upload_f32(&behind_nan(&x, k, lead), lead + k)?,
                false => cx.upload(&x, k)?,
            };
            let [x64, rounded64, before64] = [&x, &rounded, &before].map(|x| reference::widen(x));
            let w64 = w.clone();
            Ok(Trial::new(
                move |cx| {
                    let x = device_x.columns(lead, k);
                    match epilogue {
                        Epilogue::Store => gemm(cx, x, &w)?.to_vec(),
                        Epilogue::F32 => gemm_f32(cx, x, &w)?.to_vec(),
                        Epilogue::Gelu => gemm_gelu(cx, x, &w)?.to_vec(),
                        Epilogue::SwiGlu => gemm_swiglu(cx, x, &w)?.to_vec(),
                        Epilogue::Gate => gemm_gate(cx, x, &w)?.to_vec(),
                        Epilogue::Add => {
                            let mut out = cx.upload_f32(&before, outputs)?;
                            gemm_add(cx, x, &w, &mut out)?;
                            out.to_vec()
                        }
                    }
                },
                move || formula((&rounded64, &x64), &w64, &before64, epilogue),
            ))
        });
        match epilogue {
            Epilogue::F32 | Epilogue::Add | Epilogue::Gate => case.always_f32(),
            // Both factors have a product's error; for normal ones the result's is 1.4 times as great.
            Epilogue::SwiGlu => case.f32(1.4e-5),
            Epilogue::Store | Epilogue::Gelu => case,
        }
    }
}
