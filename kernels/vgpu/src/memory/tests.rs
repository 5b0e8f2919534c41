use super::*;

const MIB: usize = 1 << 20;

fn memory() -> Memory {
    Memory::new(64 * MIB)
}

#[test]
fn bytes_come_back_from_any_alignment() {
    let memory = memory();
    let base = memory.allocate(4096).unwrap();
    for offset in 0..9 {
        for length in [0, 1, 7, 8, 9, 31, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + offset) as u8).collect();
            memory.write(base + offset as u64, &bytes).unwrap();
            let mut back = vec![0xee; length];
            memory.read(base + offset as u64, &mut back).unwrap();
            assert_eq!(back, bytes, "offset {offset}, length {length}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "its addresses are its own")]
fn addresses_are_aligned_apart_and_not_used_twice() {
    let memory = memory();
    let mut seen = Vec::new();
    for _ in 0..100 {
        let address = memory.allocate(1000).unwrap();
        assert_eq!(address % 512, 0);
        assert!(
            address >= 0x1000_0000_0000,
            "{address:#x} looks like a window"
        );
        memory.free(address).unwrap();
        seen.push(address);
    }
    seen.sort_unstable();
    assert!(seen.windows(2).all(|pair| pair[1] - pair[0] >= 1000 + 512));
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn capacity_is_counted_and_given_back() {
    let memory = Memory::new(4 * MIB);
    let first = memory.allocate(3 * MIB).unwrap();
    assert_eq!(memory.available(), MIB);
    assert_eq!(
        memory.allocate(MIB + 1),
        Err(MemoryError::OutOfMemory {
            bytes: MIB + 1,
            available: MIB
        })
    );
    let last = memory.allocate(MIB).unwrap();
    memory.free(first).unwrap();
    memory.free(last).unwrap();
    assert_eq!(memory.available(), 4 * MIB);
}

#[test]
fn absurd_sizes_are_refused() {
    let memory = memory();
    assert_eq!(memory.allocate(0), Err(MemoryError::Empty));
    assert_eq!(memory.allocate_host(0), Err(MemoryError::Empty));
    for bytes in [usize::MAX, usize::MAX - 70_000, 1 << 62] {
        assert!(matches!(
            memory.allocate(bytes),
            Err(MemoryError::OutOfMemory { .. })
        ));
        assert!(matches!(
            memory.allocate_host(bytes),
            Err(MemoryError::OutOfMemory { .. })
        ));
    }
    // SAFETY: refused, so never read.
    let wrapped = unsafe { memory.register_host(usize::MAX - 10, 100) };
    assert!(matches!(wrapped, Err(MemoryError::OutOfMemory { .. })));
}

#[test]
fn a_byte_too_many_is_out_of_bounds() {
    let memory = memory();
    let base = memory.allocate(100).unwrap();
    memory.write(base + 96, &[1; 4]).unwrap();
    assert!(memory.write(base + 97, &[1; 4]).is_err());
    assert!(memory.read(base - 1, &mut [0]).is_err());
    assert!(memory.fill(base, &[0; 4], 26).is_err());
    assert!(memory.fill(base, &[0; 4], usize::MAX).is_err());
    let other = memory.allocate(200).unwrap();
    assert!(memory.copy(base, other, 101).is_err());
    assert!(memory.copy(other, base, 101).is_err());
    memory.copy(other, base, 100).unwrap();
}

#[test]
fn explanations_name_the_nearest_allocation() {
    let memory = memory();
    assert_eq!(memory.snapshot().explain(0), "nothing is allocated");
    let base = memory.allocate(4096).unwrap();
    let at = |address| memory.snapshot().explain(address);
    assert_eq!(
        at(base + 4108),
        format!("12 bytes past the end of an allocation of 4,096 bytes at {base:#x}")
    );
    assert_eq!(
        at(base - 8),
        format!("8 bytes before the start of an allocation of 4,096 bytes at {base:#x}")
    );
    assert_eq!(
        at(base + 4092),
        format!("4,092 bytes into an allocation of 4,096 bytes at {base:#x}")
    );
    assert_eq!(
        at(base + 4096),
        format!("just past the end of an allocation of 4,096 bytes at {base:#x}")
    );
    memory.free(base).unwrap();
    assert_eq!(
        at(base + 8),
        format!("8 bytes into an allocation of 4,096 bytes at {base:#x}, which was freed")
    );
}

#[test]
fn only_the_start_of_a_live_allocation_can_be_freed() {
    let memory = memory();
    let base = memory.allocate(1024).unwrap();
    let pinned = memory.allocate_host(1024).unwrap();
    assert!(memory.free(base + 512).is_err());
    assert!(memory.free(pinned).is_err());
    assert!(memory.free_host(base).is_err());
    memory.free(base).unwrap();
    assert!(memory.owns(base) && !memory.owns(&raw const memory as u64));
    let again = memory.free(base).unwrap_err();
    assert!(again.to_string().contains("which was freed"), "{again}");
    memory.free_host(pinned).unwrap();
}

#[test]
fn registered_memory_is_reached_until_it_is_not() {
    let memory = memory();
    let mut owned = vec![7u8; 64];
    let pointer = owned.as_mut_ptr().expose_provenance();
    // SAFETY: `owned` outlives the registration.
    unsafe { memory.register_host(pointer, 64) }.unwrap();
    // SAFETY: refused.
    let twice = unsafe { memory.register_host(pointer + 32, 64) };
    assert!(matches!(twice, Err(MemoryError::Registered { .. })));
    let found = memory.find(pointer as u64 + 63).unwrap();
    assert_eq!((found.bytes, found.kind), (64, Kind::Registered));
    memory.fill(pointer as u64 + 1, &[9], 2).unwrap();
    memory.unregister_host(pointer).unwrap();
    assert_eq!(owned[..4], [7, 9, 9, 7]);
    assert!(memory.unregister_host(pointer).is_err());
    assert!(memory.find(pointer as u64).is_none());
}

#[test]
fn patterns_repeat() {
    let memory = memory();
    let base = memory.allocate(20_000).unwrap();
    memory.fill(base, &[0], 20_000).unwrap();
    memory.fill(base + 2, &[1, 2, 3, 4], 4000).unwrap();
    let mut bytes = vec![0; 20_000];
    memory.read(base, &mut bytes).unwrap();
    let expected = |i: usize| match i {
        2..16_002 => ((i - 2) % 4 + 1) as u8,
        _ => 0,
    };
    assert!(
        bytes
            .iter()
            .enumerate()
            .all(|(i, &byte)| byte == expected(i))
    );
}

#[test]
fn a_snapshot_keeps_what_it_saw() {
    let memory = memory();
    let (a, b) = (memory.allocate(64).unwrap(), memory.allocate(64).unwrap());
    let snapshot = memory.snapshot();
    memory.free(a).unwrap();
    let mut hint = 0;
    assert!(snapshot.resolve(a, 64, &mut hint).is_some());
    assert!(snapshot.resolve(b + 60, 4, &mut hint).is_some());
    assert_eq!(hint, 1);
    assert!(snapshot.resolve(b + 61, 4, &mut hint).is_none());
    assert!(snapshot.resolve(a + 63, 1, &mut hint).is_some());
    assert!(memory.snapshot().resolve(a, 1, &mut 0).is_none());
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn spans_are_used_again_once_the_range_is_full() {
    // More than the reserved 2^38 bytes in total, never more than an eighth of it at once.
    let memory = Memory::new(1 << 36);
    for _ in 0..64 {
        let (a, b) = (
            memory.allocate(1 << 34).unwrap(),
            memory.allocate(1 << 34).unwrap(),
        );
        assert_ne!(a, b);
        memory.write(a, &[5]).unwrap();
        memory.free(a).unwrap();
        memory.free(b).unwrap();
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn threads_do_not_get_each_others_memory() {
    let memory = memory();
    let work = &|seed: u8| {
        for round in 0..200_u8 {
            let bytes = 100 + usize::from(seed) * 37 + usize::from(round);
            let base = memory.allocate(bytes).unwrap();
            memory.fill(base, &[seed ^ round], bytes).unwrap();
            std::thread::yield_now();
            let mut back = vec![0; bytes];
            memory.read(base, &mut back).unwrap();
            assert!(back.iter().all(|&byte| byte == seed ^ round));
            memory.free(base).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || work(seed));
        }
    });
    assert_eq!(memory.available(), memory.capacity());
}

#[test]
#[cfg_attr(miri, ignore = "it keeps them")]
fn freed_pages_return_to_the_system() {
    let memory = memory();
    for _ in 0..64 {
        let base = memory.allocate(32 * MIB).unwrap();
        memory.fill(base, &[1], 32 * MIB).unwrap();
        memory.free(base).unwrap();
    }
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident: usize = status
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    assert!(
        resident * 4096 < 1024 * MIB,
        "{resident} pages are resident"
    );
}
