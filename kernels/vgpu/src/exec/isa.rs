//! Handlers compiled for what the host's processor can do.
#![allow(unsafe_code)]

use super::vector::{Array, Vector};
#[cfg(target_arch = "x86_64")]
use super::vector::{Avx2, Avx512};
use super::{Cx, Outcome};
use crate::code::Inst;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// A function that runs one decoded instruction on the lanes of a mask.
///
/// # Safety
/// It must have come from [`handler`] on this machine, and be called with an instruction that was
/// lowered for it.
pub(crate) type Handler = unsafe fn(&mut Cx<'_>, &Inst, u32) -> Outcome;

/// What an instruction does. `run` must be `#[inline(always)]`, so that it is compiled for each
/// instruction set.
pub(crate) trait Operation {
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome;
}

fn portable<O: Operation>(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
    O::run(cx, inst, mask)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<O: Operation>(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
    O::run(cx, inst, mask)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt"
)]
fn avx512<O: Operation>(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
    O::run(cx, inst, mask)
}

#[derive(Clone, Copy)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

fn detect() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        let bits = is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        if bits && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            return if wide { Isa::Avx512 } else { Isa::Avx2 };
        }
    }
    Isa::Portable
}

fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(detect)
}

/// The handler of `O` for this machine. Single instructions gain little from vectors wider than
/// AVX2's, which would cost a third more code.
pub(crate) fn handler<O: Operation>() -> Handler {
    match isa() {
        Isa::Portable => portable::<O>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => avx2::<O>,
    }
}

/// The handler of `O` with the widest vectors of this machine, for operations on 64-bit lanes that
/// AVX2 lacks instructions for.
pub(crate) fn wide_handler<O: Operation>() -> Handler {
    match isa() {
        Isa::Portable => portable::<O>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::<O>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::<O>,
    }
}

/// An operation that asks for vectors by name.
pub(crate) trait VectorOperation {
    fn run<V: Vector>(v: V, cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome;
}

struct WithArray<O>(PhantomData<O>);

impl<O: VectorOperation> Operation for WithArray<O> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        O::run(Array, cx, inst, mask)
    }
}

#[cfg(target_arch = "x86_64")]
struct WithAvx2<O>(PhantomData<O>);

#[cfg(target_arch = "x86_64")]
impl<O: VectorOperation> Operation for WithAvx2<O> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        // SAFETY: only `vector_handler` names this type, where the processor has AVX2.
        O::run(unsafe { Avx2::new() }, cx, inst, mask)
    }
}

#[cfg(target_arch = "x86_64")]
struct WithAvx512<O>(PhantomData<O>);

#[cfg(target_arch = "x86_64")]
impl<O: VectorOperation> Operation for WithAvx512<O> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        // SAFETY: only `vector_handler` names this type, where the processor has AVX-512.
        O::run(unsafe { Avx512::new() }, cx, inst, mask)
    }
}

/// The handler of `O` with this machine's vectors.
pub(crate) fn vector_handler<O: VectorOperation>() -> Handler {
    match isa() {
        Isa::Portable => portable::<WithArray<O>>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::<WithAvx2<O>>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::<WithAvx512<O>>,
    }
}
