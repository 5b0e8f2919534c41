//! What belongs to another device, or does not fit, is refused by name; on the host and on the
//! virtual GPU.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use bytes::Bytes;
use gamut_kernels::ops::{Qkv, attention, attention_paged, gemm, rms_norm};
use gamut_kernels::{
    Context, DType, Device, Host, KvCache, Linear, Result, Sequence, View, Weight,
};
use gamut_tests::virtual_gpu;
use std::sync::Arc;

const ROOM: usize = 1 << 20;

fn host() -> Device {
    Device::Host(Arc::new(Host::new(1).unwrap()))
}

fn context(device: &Device) -> Context {
    Context::new(device, ROOM).unwrap()
}

fn weight(rows: usize, cols: usize, value: f32) -> Weight {
    let bytes: Vec<u8> = vec![value; rows * cols]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    Weight::new(DType::F32, rows, cols, Bytes::from(bytes)).unwrap()
}

/// The first output of `x` all ones.
fn first(cx: &Context, device: &Device, linear: &Linear) -> f32 {
    let x = cx
        .upload(&vec![1.0; linear.inputs()], linear.inputs())
        .unwrap();
    let dry = Context::plan(device.target());
    gemm(&dry, &x, linear).unwrap();
    device.load(&[&dry]).unwrap();
    *gemm(cx, &x, linear)
        .unwrap()
        .to_vec()
        .unwrap()
        .last()
        .unwrap()
}

fn message<T>(result: Result<T>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn values_that_are_no_whole_rows_are_refused() {
    for device in [host(), virtual_gpu(DType::F32)] {
        let cx = context(&device);
        assert_eq!(
            message(cx.upload(&[1.0; 100], 64)),
            "upload: number of values is 100, expected a multiple of 64"
        );
        assert!(cx.upload(&[3.0; 4], 0).is_err());
    }
}

#[test]
fn what_another_device_holds_is_refused() {
    let devices = [host(), virtual_gpu(DType::F32), virtual_gpu(DType::F32)];
    let contexts = devices.each_ref().map(context);
    let norm = gamut_kernels::ops::RmsNorm {
        weight: weight(1, 8, 1.0),
        eps: 1e-6,
    };
    for (i, here) in contexts.iter().enumerate() {
        for (j, there) in contexts.iter().enumerate() {
            let x = there.upload(&[1.0; 8], 8).unwrap();
            if i != j {
                let expected = "device of x is another one, expected the operation's";
                assert!(message(rms_norm(here, &x, &norm)).contains(expected));
                assert!(message(here.copy(x.view())).contains("device of x"));
            }
        }
    }
}

#[test]
fn another_type_than_the_devices_is_refused() {
    let device = virtual_gpu(DType::BF16);
    let cx = context(&device);
    let operand = cx.upload(&[1.0; 8], 8).unwrap();
    let stream = cx.upload_f32(&[1.0; 8], 8).unwrap();
    let norm = gamut_kernels::ops::RmsNorm {
        weight: weight(1, 8, 1.0),
        eps: 1e-6,
    };
    assert_eq!(
        message(rms_norm(&cx, &operand, &norm)),
        "rms_norm: type of x is bf16, expected f32"
    );
    let problem = Qkv {
        q: operand.view(),
        k: stream.view(),
        v: operand.view(),
    };
    assert_eq!(
        message(attention(&cx, 1, &[problem])),
        "attention: type of k is f32, expected bf16"
    );
}

/// The store of weights tells apart what has the same matrix, but another bias, partner or shape.
#[test]
fn weights_that_share_bytes_are_told_apart() {
    let device = virtual_gpu(DType::F32);
    let cx = context(&device);
    let (q, k, v) = (weight(8, 8, 1.0), weight(8, 8, 2.0), weight(8, 8, 3.0));
    let stack = |w: &Weight| Linear::stack(vec![(q.clone(), None), (w.clone(), None)]).unwrap();
    assert_eq!(first(&cx, &device, &stack(&k)), 16.0);
    assert_eq!(first(&cx, &device, &stack(&v)), 24.0);
    for bias in [1.0, 2.0] {
        let linear = Linear::new(q.clone(), Some(weight(1, 8, bias))).unwrap();
        assert_eq!(first(&cx, &device, &linear), 8.0 + bias);
    }
    let bytes = Bytes::from(vec![0u8; 256]);
    for (rows, cols) in [(8, 8), (4, 16), (16, 4)] {
        let w = Weight::new(DType::F32, rows, cols, bytes.clone()).unwrap();
        assert_eq!(first(&cx, &device, &Linear::new(w, None).unwrap()), 0.0);
    }
}

/// Rows `from ..` of a pool of rows, whole ones or some columns, from their own device alone.
#[test]
fn rows_are_copied_into_a_pool() {
    let values = |first: usize, len: usize| (first..first + len).map(|i| i as f32);
    for device in [host(), virtual_gpu(DType::F32), virtual_gpu(DType::BF16)] {
        let cx = context(&device);
        let x = cx.upload(&values(100, 12).collect::<Vec<_>>(), 4).unwrap();
        let pool = || cx.upload(&values(0, 15).collect::<Vec<_>>(), 3).unwrap();
        let copied = |row, x: View<'_>| {
            let mut pool = pool();
            pool.copy_rows(row, x).map(|()| pool.to_vec().unwrap())
        };
        let all = |x: [f32; 9]| {
            values(0, 3)
                .chain(x)
                .chain(values(12, 3))
                .collect::<Vec<_>>()
        };
        let some = [101, 102, 103, 105, 106, 107, 109, 110, 111].map(|x| x as f32);
        assert_eq!(copied(1, x.columns(1, 3)).unwrap(), all(some));
        let whole = cx.upload(&values(50, 9).collect::<Vec<_>>(), 3).unwrap();
        let expected: Vec<f32> = values(50, 9).collect();
        assert_eq!(copied(1, whole.view()).unwrap()[3..12], expected);
        assert_eq!(copied(2, whole.view()).unwrap()[6..], expected);
        assert_eq!(
            copied(4, whole.rows_from(1, 1)).unwrap()[12..],
            expected[3..6]
        );
        assert_eq!(
            copied(5, whole.rows_from(1, 0)).unwrap(),
            pool().to_vec().unwrap()
        );

        let refused = |row, x: View<'_>| message(copied(row, x));
        for row in [3, usize::MAX] {
            let expected = format!("copy_rows: rows is {row}+3, expected up to 5");
            assert_eq!(refused(row, whole.view()), expected);
        }
        let expected = "copy_rows: columns of x is 4, expected 3";
        assert_eq!(refused(0, x.view()), expected);
        for other in [host(), virtual_gpu(device.target().dtype())] {
            if other.name() != "host" || device.name() != "host" {
                let cx = context(&other);
                let x = cx.tensor_f32(1, 3).unwrap();
                let message = refused(0, x.view());
                let expected = match device.target().dtype() {
                    DType::BF16 => "copy_rows: type of x is f32, expected bf16",
                    _ => "copy_rows: device of x is another one, expected the tensor's",
                };
                assert_eq!(message, expected);
            }
        }
        // A dry run copies nothing, neither into it nor out of it.
        let dry = Context::plan(device.target());
        let mut planned = dry.tensor(5, 3).unwrap();
        planned.copy_rows(1, whole.view()).unwrap();
        let copied = copied(1, planned.rows_from(1, 3)).unwrap();
        assert_eq!(copied, pool().to_vec().unwrap());
    }
}

#[test]
fn a_weight_that_was_not_loaded_is_an_error() {
    let device = virtual_gpu(DType::F32);
    let cx = context(&device);
    let x = cx.upload(&[1.0; 8], 8).unwrap();
    let linear = Linear::new(weight(4, 8, 1.0), None).unwrap();
    assert!(message(gemm(&cx, &x, &linear)).contains("was not loaded"));
}

#[test]
fn sequences_past_their_pages_are_refused() {
    for device in [host(), virtual_gpu(DType::F32)] {
        let cx = context(&device);
        for (start, rows) in [
            (usize::MAX, 1),
            (0, 1 << 40),
            (64, 1),
            (i32::MAX as usize, 1),
        ] {
            let sequences = [Sequence {
                generated: false,
                start,
                rows,
                pages: &[0],
            }];
            let message = message(cx.batch(&sequences));
            assert!(message.contains("at most 64, in 1 pages"), "{message}");
        }
    }
}

#[test]
fn a_cache_without_heads_is_refused() {
    for device in [host(), virtual_gpu(DType::F32)] {
        let cx = context(&device);
        let kv = KvCache::new(&cx, 1, 1, 0, 16).unwrap();
        let q = cx.upload(&[1.0; 16], 16).unwrap();
        let sequences = [Sequence {
            generated: false,
            start: 0,
            rows: 1,
            pages: &[0],
        }];
        let batch = cx.batch(&sequences).unwrap();
        assert!(message(attention_paged(&cx, &q, &batch, &kv, 0)).contains("heads"));
    }
}
