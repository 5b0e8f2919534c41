//! Runs kernels with a planted mistake, and their correct twins, under several schedules.

use gamut_vgpu::{Fault, FaultKind, Gpu, Launch, Module, Options, Properties, Schedule};

/// A kernel `k(out, raw)` of which only the body differs. `%out` is the address of zeros, `%raw`
/// that of bytes that nobody wrote, `%i` the thread's number in its block, `%b` the block's, and
/// `%word`, `%mine` the addresses of the thread's 4 bytes in `%out` and in the shared array `s`.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) body: &'a str,
    pub(crate) blocks: u32,
    pub(crate) threads: u32,
}

/// Bytes of `out` and of `raw`.
pub(crate) const BYTES: usize = 8192;

impl Case<'_> {
    pub(crate) fn text(&self) -> String {
        format!(
            ".version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out, .param .u64 raw)
{{
    .reg .pred %p<8>;
    .reg .b16 %h<8>;
    .reg .b32 %r<16>, %i, %b, %s, %mine;
    .reg .b64 %rd<16>, %out, %raw, %word;
    .shared .align 16 .b8 s[4096];
    ld.param.u64 %out, [out];
    ld.param.u64 %raw, [raw];
    mov.u32 %i, %tid.x;
    mov.u32 %b, %ctaid.x;
    mov.u32 %s, s;
    mad.lo.u32 %mine, %i, 4, %s;
    mad.wide.u32 %word, %i, 4, %out;
    {}
    ret;
}}",
            self.body
        )
    }

    /// The line of the PTX text that holds `mark`.
    pub(crate) fn line(&self, mark: &str) -> u32 {
        let text = self.text();
        let at = text.lines().position(|line| line.contains(mark));
        at.unwrap_or_else(|| panic!("no line holds {mark}")) as u32 + 1
    }

    /// What `out` holds at the end, as 32-bit words.
    pub(crate) fn run(&self, options: Options) -> Result<Vec<u32>, Fault> {
        let gpu = Gpu::new(Properties {
            memory_bytes: 1 << 24,
            step_limit: 1 << 18,
            ..Properties::h100()
        });
        gpu.configure(options);
        let module = Module::load(&self.text(), &gpu).unwrap_or_else(|why| panic!("{why}"));
        let kernel = module.kernel("k").expect("the kernel");
        let memory = gpu.memory();
        let [out, raw] = [0; 2].map(|_| memory.allocate(BYTES).expect("memory"));
        memory.fill(out, &[0], BYTES).expect("inside");
        let params = [out.to_le_bytes(), raw.to_le_bytes()].concat();
        gpu.launch(
            &kernel,
            &Launch {
                grid: [self.blocks, 1, 1],
                block: [self.threads, 1, 1],
                dynamic_shared: 0,
                params: &params,
            },
        )?;
        let mut bytes = vec![0; BYTES];
        memory.read(out, &mut bytes).expect("inside");
        let words = bytes.as_chunks::<4>().0;
        Ok(words.iter().map(|&word| u32::from_le_bytes(word)).collect())
    }

    /// Asserts that no schedule finds anything, and returns what `out` holds after the first.
    pub(crate) fn is_clean(&self) -> Vec<u32> {
        let runs = schedules().map(|schedule| {
            let result = self.run(with(schedule));
            result.unwrap_or_else(|fault| panic!("{schedule:?}: {fault}"))
        });
        let [first, ..] = &runs.collect::<Vec<_>>()[..] else {
            panic!("there are schedules");
        };
        first.clone()
    }

    /// Asserts that every schedule finds a fault of this kind between the marked lines, in either
    /// order, and returns that of the first schedule.
    pub(crate) fn finds(&self, kind: FaultKind, marks: [&str; 2]) -> Fault {
        let mut expected = marks.map(|mark| self.line(mark));
        expected.sort_unstable();
        let faults = schedules().map(|schedule| {
            let fault = self.run(with(schedule)).expect_err("a fault");
            let other = fault.other.as_ref().map_or(0, |other| other.ptx_line);
            let mut lines = [fault.ptx_line, other];
            lines.sort_unstable();
            assert_eq!(
                (fault.kind, lines),
                (kind, expected),
                "{schedule:?}: {fault}"
            );
            fault
        });
        faults.collect::<Vec<_>>().swap_remove(0)
    }

    /// The fault that the first schedule finds, on its own.
    pub(crate) fn fault(&self) -> Fault {
        self.run(Options::default()).expect_err("a fault")
    }
}

pub(crate) fn with(schedule: Schedule) -> Options {
    Options {
        checks: true,
        schedule,
        ..Options::default()
    }
}

/// Those that every case is run under.
pub(crate) fn schedules() -> impl Iterator<Item = Schedule> {
    let random = (0..10).map(Schedule::Random);
    [Schedule::Forward, Schedule::Reversed]
        .into_iter()
        .chain(random)
}

/// A case of one block.
pub(crate) fn block(threads: u32, body: &str) -> Case<'_> {
    Case {
        body,
        blocks: 1,
        threads,
    }
}
