//! Special registers (PTX ISA 10).

use crate::code::{Inst, Width};
use crate::exec::column::LANES;
use crate::exec::{Cx, Handler, Operation, Outcome, handler};

macro_rules! specials {
    ($($variant:ident $name:literal $width:ident,)*) => {
        /// A special register.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Special { $($variant,)* }

        impl Special {
            const ALL: &'static [Special] = &[$(Special::$variant,)*];

            /// The register that `name` stands for.
            pub(crate) fn parse(name: &str) -> Option<Special> {
                Some(match name {
                    $($name => Special::$variant,)*
                    _ => return None,
                })
            }

            pub(crate) fn width(self) -> Width {
                match self { $(Special::$variant => Width::$width,)* }
            }
        }
    };
}

specials! {
    TidX "%tid.x" W32,
    TidY "%tid.y" W32,
    TidZ "%tid.z" W32,
    NtidX "%ntid.x" W32,
    NtidY "%ntid.y" W32,
    NtidZ "%ntid.z" W32,
    CtaidX "%ctaid.x" W32,
    CtaidY "%ctaid.y" W32,
    CtaidZ "%ctaid.z" W32,
    NctaidX "%nctaid.x" W32,
    NctaidY "%nctaid.y" W32,
    NctaidZ "%nctaid.z" W32,
    LaneId "%laneid" W32,
    WarpId "%warpid" W32,
    WarpCount "%nwarpid" W32,
    Multiprocessor "%smid" W32,
    MultiprocessorCount "%nsmid" W32,
    LanesEqual "%lanemask_eq" W32,
    LanesLess "%lanemask_lt" W32,
    LanesUpTo "%lanemask_le" W32,
    LanesGreater "%lanemask_gt" W32,
    LanesFrom "%lanemask_ge" W32,
    Clock "%clock" W32,
    ClockHigh "%clock_hi" W32,
    TimerLow "%globaltimer_lo" W32,
    TimerHigh "%globaltimer_hi" W32,
    DynamicShared "%dynamic_smem_size" W32,
    TotalShared "%total_smem_size" W32,
    Clock64 "%clock64" W64,
    Timer "%globaltimer" W64,
    GridId "%gridid" W64,
}

impl Special {
    /// The handler that reads it; `Inst::imm` says which.
    pub(crate) fn handler(self) -> Handler {
        match self.width() {
            Width::W64 => handler::<Read64>(),
            _ => handler::<Read32>(),
        }
    }

    fn of(inst: &Inst) -> Special {
        Special::ALL
            .get(inst.imm as usize)
            .copied()
            .unwrap_or(Special::LaneId)
    }
}

struct Read32;

impl Operation for Read32 {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let values = read32(cx, Special::of(inst));
        cx.set(inst.d, mask, &values);
        Ok(())
    }
}

struct Read64;

impl Operation for Read64 {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let value = match Special::of(inst) {
            Special::GridId => 0,
            _ => nanoseconds(cx),
        };
        cx.set(inst.d, mask, &[value; LANES]);
        Ok(())
    }
}

/// Time since the launch. A clock tick passes for a nanosecond.
fn nanoseconds(cx: &Cx<'_>) -> u64 {
    cx.grid.start.elapsed().as_nanos() as u64
}

fn read32(cx: &Cx<'_>, special: Special) -> [u32; LANES] {
    let lanes = |of: fn(u32) -> u32| std::array::from_fn(|lane| of(lane as u32));
    let [bx, by, bz] = cx.grid.block;
    let all = |value: u32| [value; LANES];
    let thread = |lane: usize| cx.threads.warp * LANES as u32 + lane as u32;
    match special {
        Special::TidX => std::array::from_fn(|lane| thread(lane) % bx),
        Special::TidY => std::array::from_fn(|lane| thread(lane) / bx % by),
        Special::TidZ => std::array::from_fn(|lane| thread(lane) / bx / by),
        Special::NtidX => all(bx),
        Special::NtidY => all(by),
        Special::NtidZ => all(bz),
        Special::CtaidX => all(cx.block.index[0]),
        Special::CtaidY => all(cx.block.index[1]),
        Special::CtaidZ => all(cx.block.index[2]),
        Special::NctaidX => all(cx.grid.grid[0]),
        Special::NctaidY => all(cx.grid.grid[1]),
        Special::NctaidZ => all(cx.grid.grid[2]),
        Special::LaneId => lanes(|lane| lane),
        Special::WarpId => all(cx.threads.warp),
        Special::WarpCount => all((bx * by * bz).div_ceil(LANES as u32)),
        // Blocks go to multiprocessors in turn.
        Special::Multiprocessor => {
            let [x, y, z] = cx.block.index;
            let row = u64::from(y) + u64::from(z) * u64::from(cx.grid.grid[1]);
            let number = u64::from(x) + row * u64::from(cx.grid.grid[0]);
            all((number % u64::from(cx.grid.multiprocessors.max(1))) as u32)
        }
        Special::MultiprocessorCount => all(cx.grid.multiprocessors),
        Special::LanesEqual => lanes(|lane| 1 << lane),
        Special::LanesLess => lanes(|lane| (1 << lane) - 1),
        Special::LanesUpTo => lanes(|lane| u32::MAX >> (31 - lane)),
        Special::LanesGreater => lanes(|lane| !(u32::MAX >> (31 - lane))),
        Special::LanesFrom => lanes(|lane| u32::MAX << lane),
        Special::Clock | Special::TimerLow => all(nanoseconds(cx) as u32),
        Special::ClockHigh | Special::TimerHigh => all((nanoseconds(cx) >> 32) as u32),
        Special::DynamicShared => all(cx.grid.dynamic_shared),
        Special::TotalShared => all(cx.grid.shared_end),
        Special::Clock64 | Special::Timer | Special::GridId => all(0),
    }
}
