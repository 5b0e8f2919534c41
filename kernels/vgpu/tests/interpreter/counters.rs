//! Counters of small kernels against counts made by hand.

use crate::support::{load as module, unchecked, upload};
use gamut_vgpu::Launch;
use gamut_vgpu::count::{Class, Counters, Coverage, Executed, Product, Requests, Wavefronts};

/// Memory for `out`: 64 KiB. Its address is a multiple of 256.
const WORDS: usize = 8192;

/// What `k(out)` with this body counts, over `blocks` blocks of `threads` threads.
fn count(body: &str, blocks: u32, threads: u32) -> Counters {
    let gpu = unchecked();
    let outer = ".extern .shared .align 128 .b8 memory[];";
    let module = module(&gpu, body, outer);
    let kernel = module.kernel("k").expect("the kernel");
    let out = upload(&gpu, &[0; WORDS]);
    let launch = Launch {
        grid: [blocks, 1, 1],
        block: [threads, 1, 1],
        dynamic_shared: 32 << 10,
        params: &out.to_le_bytes(),
    };
    let counters = gpu.count(&kernel, &launch);
    counters.unwrap_or_else(|fault| panic!("{fault}"))
}

/// The requests of a warp that loads with `op` into `to` from `%out + stride * lane + offset`.
fn load(op: &str, to: &str, stride: u32, offset: u32) -> Requests {
    let body = format!("mad.wide.u32 %rd1, %i, {stride}, %out; {op} {to}, [%rd1+{offset}];");
    let counters = count(&body, 1, 32);
    assert_eq!(counters.stores, Requests::default());
    counters.loads
}

fn requests(bytes: u64, distinct_bytes: u64, sectors: u64, min_sectors: u64) -> Requests {
    Requests {
        requests: 1,
        bytes,
        distinct_bytes,
        sectors,
        min_sectors,
    }
}

#[test]
fn sectors_of_global_loads() {
    let u32 = |stride, offset| load("ld.global.u32", "%r1", stride, offset);
    assert_eq!(u32(4, 0), requests(128, 128, 4, 4));
    assert_eq!(u32(4, 4), requests(128, 128, 5, 4));
    assert_eq!(u32(8, 0), requests(128, 128, 8, 4));
    assert_eq!(u32(32, 0), requests(128, 128, 32, 4));
    assert_eq!(u32(1024, 0), requests(128, 128, 32, 4));
    assert_eq!(u32(0, 0), requests(128, 4, 1, 1));
    let pairs = load("ld.global.v2.u32", "{%r1, %r2}", 8, 0);
    assert_eq!(pairs, requests(256, 256, 8, 8));
    let fours = "{%r1, %r2, %r3, %r4}";
    assert_eq!(
        load("ld.global.nc.v4.u32", fours, 16, 0),
        requests(512, 512, 16, 16)
    );
    assert_eq!(
        load("ld.global.v4.u32", fours, 32, 16),
        requests(512, 512, 32, 16)
    );
    assert_eq!(load("ld.global.u8", "%r1", 1, 0), requests(32, 32, 1, 1));
    assert_eq!(load("ld.global.u16", "%h1", 2, 30), requests(64, 64, 3, 2));
}

/// A generic address counts for the space that it lies in.
#[test]
fn generic_accesses_count_where_they_go() {
    let counters = count(
        "st.u64 [%mine], %out;
         cvta.shared.u64 %rd1, 1024;
         mad.wide.u32 %rd1, %i, 4, %rd1;
         ld.u32 %r1, [%rd1];",
        1,
        32,
    );
    assert_eq!(counters.stores, requests(256, 256, 8, 8));
    assert_eq!(counters.loads, Requests::default());
    assert_eq!(counters.shared, wavefronts(1, 128, 1, 1));
    let generic = Executed {
        warps: 2,
        lanes: 64,
    };
    assert_eq!(counters.instructions[&Class::Generic], generic);
}

#[test]
fn masked_lanes_ask_for_nothing() {
    // Lanes 0 to 7 of each warp; the second warp's request lies four sectors higher.
    let body = "
        and.b32 %r1, %i, 31;
        setp.lt.u32 %p1, %r1, 8;
        mad.wide.u32 %rd1, %i, 4, %out;
        @%p1 ld.global.u32 %r2, [%rd1];
        setp.gt.u32 %p2, %i, 100;
        @%p2 ld.global.u32 %r3, [%rd1];";
    let counters = count(body, 1, 64);
    let expected = Requests {
        requests: 2,
        ..requests(64, 64, 2, 2)
    };
    assert_eq!(counters.loads, expected);
    assert_eq!(
        counters.instructions[&Class::GlobalLoad],
        Executed {
            warps: 4,
            lanes: 16
        }
    );
    assert_eq!(counters.footprint.read_sectors, 2);
    let line = |text: &str| {
        let mut lines = counters.lines.iter();
        lines.find(|line| line.text.starts_with(text)).expect(text)
    };
    assert_eq!(line("@%p1").global, expected);
    assert_eq!(line("@%p1").executed.lanes, 16);
    assert_eq!(line("@%p2").executed, Executed { warps: 2, lanes: 0 });
    assert_eq!(line("@%p2").global, Requests::default());
}

/// What was touched counts once, and what was asked for each time.
#[test]
fn a_footprint_counts_a_sector_once() {
    let body = "
        ld.global.u64 %rd1, [%mine];
        ld.global.u64 %rd2, [%mine];
        red.global.add.u64 [%out], 1;
        st.global.u64 [%mine+4096], %rd2;";
    let counters = count(body, 3, 32);
    assert_eq!(counters.loads.sectors, 3 * 2 * 8);
    assert_eq!(counters.stores.sectors, 3 * 8);
    assert_eq!(counters.atomics.sectors, 3);
    assert_eq!(counters.footprint.read_sectors, 8);
    assert_eq!(counters.footprint.written_sectors, 8 + 1);
}

fn wavefronts(requests: u64, bytes: u64, wavefronts: u64, min_wavefronts: u64) -> Wavefronts {
    Wavefronts {
        requests,
        bytes,
        wavefronts,
        min_wavefronts,
    }
}

/// The wavefronts of a warp's `op` at `memory + stride * lane`.
fn shared(op: &str, stride: u32) -> Wavefronts {
    let op = op.replace("AT", "[%r1]");
    let body = format!("mov.u32 %r0, memory; mad.lo.u32 %r1, %i, {stride}, %r0; {op};");
    count(&body, 1, 32).shared
}

#[test]
fn bank_conflicts() {
    for ways in [1, 2, 4, 8, 16, 32] {
        let expected = wavefronts(1, 128, ways, 1);
        assert_eq!(shared("ld.shared.u32 %r2, AT", 4 * ways as u32), expected);
        assert_eq!(shared("st.shared.u32 AT, %r2", 4 * ways as u32), expected);
    }
    assert_eq!(shared("ld.shared.u32 %r2, AT", 0), wavefronts(1, 128, 1, 1));
    assert_eq!(
        shared("ld.shared.u32 %r2, AT", 132),
        wavefronts(1, 128, 1, 1)
    );
    assert_eq!(shared("ld.shared.u16 %h2, AT", 2), wavefronts(1, 64, 1, 1));
    let pair = "ld.shared.v2.u32 {%r2, %r3}, AT";
    assert_eq!(shared(pair, 8), wavefronts(1, 256, 2, 2));
    assert_eq!(shared(pair, 16), wavefronts(1, 256, 4, 2));
    let four = "st.shared.v4.u32 AT, {%r2, %r3, %r4, %r5}";
    assert_eq!(shared(four, 16), wavefronts(1, 512, 4, 4));
    assert_eq!(shared(four, 128), wavefronts(1, 512, 32, 4));
    assert_eq!(shared(four, 144), wavefronts(1, 512, 4, 4));
    assert_eq!(
        shared("red.shared.add.u32 AT, 1", 8),
        wavefronts(1, 128, 2, 1)
    );
}

/// Rows of 64 bytes put every second row of a matrix into the same banks; of 80 bytes, none.
#[test]
fn ldmatrix_takes_a_phase_for_each_matrix() {
    let load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r2, %r3, %r4, %r5}, AT";
    assert_eq!(shared(load, 16), wavefronts(1, 512, 4, 4));
    assert_eq!(shared(load, 64), wavefronts(1, 512, 16, 4));
    assert_eq!(shared(load, 80), wavefronts(1, 512, 4, 4));
    assert_eq!(shared(load, 128), wavefronts(1, 512, 32, 4));
    let one = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, AT";
    assert_eq!(shared(one, 32), wavefronts(1, 128, 2, 1));
}

#[test]
fn asynchronous_copies_read_sectors_and_write_banks() {
    let body = "
        mov.u32 %r0, memory;
        mad.lo.u32 %r1, %i, 32, %r0;
        mad.wide.u32 %rd1, %i, 16, %out;
        setp.gt.u32 %p1, %i, 15;
        cp.async.cg.shared.global [%r1], [%rd1], 16, %p1;
        cp.async.commit_group;
        cp.async.wait_group 0;";
    let counters = count(body, 1, 32);
    assert_eq!(counters.loads, requests(256, 256, 8, 8));
    assert_eq!(counters.shared, wavefronts(1, 512, 8, 4));
    assert_eq!(counters.instructions[&Class::AsyncCopy].warps, 1);
    assert_eq!(counters.instructions[&Class::AsyncGroup].warps, 2);
}

#[test]
fn instructions_products_and_barriers() {
    let body = "
        mov.b32 %r0, 0;
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
            {%f0, %f1, %f2, %f3}, {%r0, %r0, %r0, %r0}, {%r0, %r0}, {%f0, %f1, %f2, %f3};
        bar.sync 0;
        ex2.approx.f32 %f1, %f2;
        add.f32 %f1, %f1, %f2;
        bar.sync 0;
        shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;
        ret;";
    let counters = count(body, 5, 64);
    let warps = 5 * 2;
    let once = Executed {
        warps,
        lanes: 32 * warps,
    };
    for class in [
        Class::Matrix,
        Class::Special,
        Class::Float,
        Class::Warp,
        Class::Control,
        Class::Parameter,
        Class::Integer,
    ] {
        assert_eq!(counters.instructions[&class], once, "{class:?}");
    }
    assert_eq!(counters.instructions[&Class::Move].warps, 2 * warps);
    assert_eq!(counters.barriers, 2 * warps);
    let operations = warps * 2 * 16 * 8 * 16;
    assert_eq!(counters.matrix_operations[&Product::Bf16], operations);
    assert_eq!(counters.matrix_operations.len(), 1);
}

/// Even lanes come to the exchange first and wait there for odd ones; then all pass it once.
#[test]
fn waiting_lanes_count_when_they_go_on() {
    let body = "
        and.b32 %r1, %i, 1;
        setp.eq.u32 %p1, %r1, 1;
        @%p1 bra ODD;
    MEET:
        shfl.sync.bfly.b32 %r3, %r1, 1, 31, -1;
        bar.sync 0;
        bra.uni DONE;
    ODD:
        add.u32 %r1, %r1, 1;
        bra.uni MEET;
    DONE:
        ret;";
    let counters = count(body, 1, 32);
    let once = Executed {
        warps: 1,
        lanes: 32,
    };
    assert_eq!(counters.instructions[&Class::Barrier], once);
    assert_eq!(counters.instructions[&Class::Warp], once);
    // Odd lanes branch there and back, all to the end, and all return.
    let branches = Executed {
        warps: 4,
        lanes: 16 + 16 + 32 + 32,
    };
    assert_eq!(counters.instructions[&Class::Control], branches);
}

#[test]
fn coverage_names_the_lines_that_did_not_run() {
    let gpu = unchecked();
    let body = "setp.gt.u32 %p1, %i, 7;
        @%p1 mov.u32 %r1, 1;
        @!%p1 bra END;
        mov.u32 %r1, 2;
    END:
        ret;";
    let module = module(&gpu, body, "");
    let kernel = module.kernel("k").expect("the kernel");
    let out = upload(&gpu, &[0]);
    let mut coverage = Coverage::new(kernel.clone());
    let missing = |coverage: &Coverage| -> Vec<String> {
        let lines = coverage.lines().into_iter();
        let missing = lines.filter(|line| line.lanes == 0);
        missing.map(|line| line.text).collect()
    };
    assert_eq!(missing(&coverage).len(), coverage.lines().len());
    for (threads, expected) in [
        (8, &["@%p1 mov.u32 %r1, 1;", "mov.u32 %r1, 2;"][..]),
        (9, &[]),
    ] {
        let launch = Launch {
            grid: [1; 3],
            block: [threads, 1, 1],
            dynamic_shared: 0,
            params: &out.to_le_bytes(),
        };
        coverage.add(&gpu.count(&kernel, &launch).expect("a launch"));
        assert_eq!(missing(&coverage), expected);
    }
    assert_eq!(coverage.launches(), 2);
}
