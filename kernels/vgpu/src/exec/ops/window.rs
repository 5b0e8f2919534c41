//! `isspacep`.

use crate::code::Inst;
use crate::exec::space::inside;
use crate::exec::{Cx, LOCAL_WINDOW, Operation, Outcome, PARAM_WINDOW, SHARED_WINDOW};

/// What `Inst::imm` asks for.
pub(crate) const SHARED: u64 = 0;
pub(crate) const LOCAL: u64 = 1;
pub(crate) const PARAM: u64 = 2;
pub(crate) const GLOBAL: u64 = 3;
/// A space that has no window.
pub(crate) const NONE: u64 = 4;

/// Whether address `a` lies in a space.
pub(crate) struct IsSpace;

impl Operation for IsSpace {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let mut found = 0;
        for (lane, &address) in cx.read::<u64>(inst.a).iter().enumerate() {
            let windows = [SHARED_WINDOW, LOCAL_WINDOW, PARAM_WINDOW];
            let is = match inst.imm {
                GLOBAL => !windows.iter().any(|&window| inside(window, address)),
                which => windows
                    .get(which as usize)
                    .is_some_and(|&window| inside(window, address)),
            };
            found |= u32::from(is) << lane;
        }
        cx.set_predicate(inst.d, mask, found);
        Ok(())
    }
}
