//! A row's bits do not depend on its company on a GPU either: on how many rows a product has, on
//! how a prompt is cut into chunks, on which problems share a launch.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_kernels::ops::{
    Qkv, attention, copy_pages, gemm, gemm_add, gemm_f32, gemm_gate, gemm_gelu, gemm_swiglu,
};
use gamut_kernels::{Context, DType, KvCache, Linear, Result, Sequence, Tensor};
use gamut_tests::layer::{AttentionLayer, sequence, weight};
use gamut_tests::virtual_gpu;
use std::ops::Range;

const ROOM: usize = 64 << 20;

/// Values that differ in every row.
fn values(rows: usize, cols: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    (0..rows * cols).map(value).collect()
}

fn bits(tensor: &Tensor) -> Vec<Vec<u32>> {
    let values = tensor.to_vec().unwrap();
    values
        .chunks_exact(tensor.cols())
        .map(|row| row.iter().map(|x| x.to_bits()).collect())
        .collect()
}

type Product = fn(&Context, &Tensor, Range<usize>, &Linear) -> Result<Tensor>;

/// Every product, of some rows of `x`.
const PRODUCTS: [(&str, Product); 6] = [
    ("gemm", |cx, x, rows, w| {
        gemm(cx, x.rows_from(rows.start, rows.len()), w)
    }),
    ("gemm_f32", |cx, x, rows, w| {
        gemm_f32(cx, x.rows_from(rows.start, rows.len()), w)
    }),
    ("gemm_gelu", |cx, x, rows, w| {
        gemm_gelu(cx, x.rows_from(rows.start, rows.len()), w)
    }),
    ("gemm_swiglu", |cx, x, rows, w| {
        gemm_swiglu(cx, x.rows_from(rows.start, rows.len()), w)
    }),
    ("gemm_add", |cx, x, rows, w| {
        let x = x.rows_from(rows.start, rows.len());
        let mut y = cx.upload_f32(&vec![0.25; rows.len() * w.outputs()], w.outputs())?;
        gemm_add(cx, x, w, &mut y)?;
        Ok(y)
    }),
    ("gemm_gate", |cx, x, rows, w| {
        gemm_gate(cx, x.rows_from(rows.start, rows.len()), w)
    }),
];

#[test]
fn a_row_of_a_product_is_the_same_among_any_others() {
    const ROWS: usize = 200;
    const COLS: usize = 160;
    for dtype in [DType::BF16, DType::F32] {
        let device = virtual_gpu(dtype);
        let cx = Context::new(&device, ROOM).unwrap();
        let operand = cx.upload(&values(ROWS, COLS), COLS).unwrap();
        let stream = cx.upload_f32(&values(ROWS, COLS), COLS).unwrap();
        for (name, product) in PRODUCTS {
            let (x, outputs) = match name {
                "gemm_gate" => (&stream, COLS / 2),
                _ => (&operand, 96),
            };
            let w = Linear::new(weight(outputs, COLS, 3), Some(weight(1, outputs, 5))).unwrap();
            let plan = Context::plan(device.target());
            product(&plan, x, 0..ROWS, &w).unwrap();
            product(&plan, x, 0..1, &w).unwrap();
            device.load(&[&plan]).unwrap();
            let all = bits(&product(&cx, x, 0..ROWS, &w).unwrap());
            // One row, the tile of few rows and one more, odd ones, a whole tile of many.
            for rows in [0..1, 199..200, 3..19, 7..24, 60..125, 64..192] {
                let some = bits(&product(&cx, x, rows.clone(), &w).unwrap());
                assert_eq!(some, all[rows.clone()], "{dtype} {name}, rows {rows:?}");
            }
        }
    }
}

#[test]
fn a_problem_of_attention_is_the_same_among_any_others() {
    const HEADS: usize = 3;
    const WIDTH: usize = HEADS * 64;
    for dtype in [DType::BF16, DType::F32] {
        let device = virtual_gpu(dtype);
        let cx = Context::new(&device, ROOM).unwrap();
        let x = cx.upload(&values(300, WIDTH), WIDTH).unwrap();
        let problem = |(from, queries, keys): (usize, usize, usize)| Qkv {
            q: x.rows_from(from, queries),
            k: x.rows_from(from + 20, keys),
            v: x.rows_from(from + 30, keys),
        };
        let sizes = [(0, 70, 130), (5, 1, 200), (100, 64, 64), (33, 129, 1)];
        let problems = sizes.map(problem);
        let all = bits(&attention(&cx, HEADS, &problems).unwrap());
        let mut first = 0;
        for (problem, size) in problems.iter().zip(sizes) {
            let alone = bits(&attention(&cx, HEADS, &[*problem]).unwrap());
            assert_eq!(alone, all[first..first + size.1], "{dtype} {size:?}");
            first += size.1;
        }
    }
}

/// What rows of a prompt attend to, when it comes in chunks beside other sequences.
#[test]
fn a_prompt_is_the_same_in_any_chunks() {
    const TOKENS: usize = 200;
    for dtype in [DType::BF16, DType::F32] {
        let device = virtual_gpu(dtype);
        let own = Context::new(&device, ROOM).unwrap();
        let cx = Context::new(&device, ROOM).unwrap();
        let layer = AttentionLayer::new(&device, &own);
        let pages: Vec<Vec<u32>> = [0, 1].map(|i| (0..4).map(|p| 2 * p + i).collect()).into();
        let mut expected = None;
        // Whole, by pages, odd, one by one at last; the second time beside another prompt.
        for chunks in [
            &[TOKENS][..],
            &[64, 64, 64, 8],
            &[1, 99, 35, 65],
            &[197, 1, 1, 1],
        ] {
            for company in [false, true] {
                let mut kv = layer.cache(&own, 8);
                let (mut rows, mut start) = (Vec::new(), 0);
                for &chunk in chunks {
                    let mut sequences = vec![sequence(&pages[0], start, chunk, false)];
                    if company {
                        sequences.insert(0, sequence(&pages[1], 0, 37, false));
                    }
                    rows.extend(attend(&cx, &layer, &mut kv, &sequences, chunk, start));
                    start += chunk;
                }
                let expected = expected.get_or_insert_with(|| rows.clone());
                assert!(rows == *expected, "{dtype} {chunks:?}, company {company}");
            }
        }
    }
}

/// A sequence that goes on in a copy of its last page, which is not full, beside the first one.
#[test]
fn a_copied_page_is_gone_on_from_alike() {
    for dtype in [DType::BF16, DType::F32] {
        let device = virtual_gpu(dtype);
        let own = Context::new(&device, ROOM).unwrap();
        let cx = Context::new(&device, ROOM).unwrap();
        let layer = AttentionLayer::new(&device, &own);
        let mut kv = layer.cache(&own, 4);
        kv.clear().unwrap();
        let prompt = [sequence(&[2, 0], 0, 70, false)];
        attend(&cx, &layer, &mut kv, &prompt, 70, 0);
        copy_pages(&cx, &mut kv, &[(0, 3), (2, 1)]).unwrap();
        let [first, second, third] = [[2, 0], [2, 3], [1, 3]].map(|pages| {
            let next = [sequence(&pages, 70, 1, true)];
            attend(&cx, &layer, &mut kv, &next, 1, 70)
        });
        assert!(first == second && first == third, "{dtype}");
    }
}

/// The last `rows` rows of a step, whose tokens follow from their positions.
fn attend(
    cx: &Context,
    layer: &AttentionLayer,
    kv: &mut KvCache,
    sequences: &[Sequence<'_>],
    rows: usize,
    start: usize,
) -> Vec<Vec<u32>> {
    let others: usize = sequences.iter().map(|s| s.rows).sum::<usize>() - rows;
    let positions = (0..others).chain(start..start + rows);
    let sources: Vec<_> = positions.map(|p| layer.token(p)).collect();
    let batch = cx.step(sequences, &sources, &[]).unwrap();
    let attended = layer.attended(cx, &batch, kv).unwrap();
    bits(&attended).split_off(others)
}
