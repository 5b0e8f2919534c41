//! Every instruction that was recorded on an H100, on the virtual GPU: the same bits, except for
//! `tanh` where its results are not known.

use gamut_probe::instructions::format::Format;
use gamut_probe::instructions::{Group, Instruction, WARP, groups};
use gamut_tests::nvrtc::NEWEST;
use gamut_vgpu::{Gpu, Launch, Module, Properties};
use safetensors::SafeTensors;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/golden/hardware/instructions.safetensors"
);

#[test]
fn every_instruction_returns_what_the_hardware_did() {
    let file = std::fs::read(RECORDED).unwrap_or_else(|e| panic!("{RECORDED}: {e}"));
    let recorded = SafeTensors::deserialize(&file).expect("a file of tensors");
    let nvrtc = NEWEST.nvrtc();
    let gpu = Gpu::new(Properties {
        memory_bytes: 1 << 30,
        ..Properties::h100()
    });
    let failures: Vec<String> = groups()
        .iter()
        .flat_map(|group| failures(group, &gpu, &nvrtc, &recorded))
        .collect();
    assert!(
        failures.is_empty(),
        "{} instructions differ from the hardware's:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// One line for each row of a group that fails.
fn failures(group: &Group, gpu: &Gpu, nvrtc: &Path, recorded: &SafeTensors<'_>) -> Vec<String> {
    let ptx = gamut_probe::ptx(nvrtc, &group.source()).unwrap_or_else(|e| panic!("{e}"));
    let module = Module::load(&ptx, gpu).unwrap_or_else(|e| panic!("{}: {e}", group.name));
    let failure = |row: &Instruction| {
        let why = match run(row, gpu, &module) {
            Ok(outputs) => differences(row, &outputs, recorded)?,
            Err(why) => why.to_string(),
        };
        Some(format!("{}: {}", row.name, why.trim_end()))
    };
    group.rows.iter().filter_map(failure).collect()
}

/// The output words of all lanes.
fn run(row: &Instruction, gpu: &Gpu, module: &Module) -> Result<Vec<u32>, Box<dyn Error>> {
    let kernel = module.kernel(&row.name).ok_or("no such kernel")?;
    let memory = gpu.memory();
    let output_bytes = 4 * row.outputs * row.lanes();
    let input = memory.allocate(4 * row.input_words() * row.lanes())?;
    let output = memory.allocate(output_bytes)?;
    let scratch = memory.allocate(8 * row.lanes())?;
    let words: Vec<u8> = row.inputs().iter().flat_map(|w| w.to_le_bytes()).collect();
    memory.write(input, &words)?;
    let buffers = [input, output, scratch];
    let params: Vec<u8> = buffers.iter().flat_map(|b| b.to_le_bytes()).collect();
    let launch = Launch {
        grid: [(row.lanes() / WARP) as u32, 1, 1],
        block: [WARP as u32, 1, 1],
        dynamic_shared: 0,
        params: &params,
    };
    gpu.launch(&kernel, &launch)?;
    let mut outputs = vec![0; output_bytes];
    memory.read(output, &mut outputs)?;
    for buffer in buffers {
        memory.free(buffer)?;
    }
    Ok(little_endian(&outputs, u32::from_le_bytes))
}

fn little_endian<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| from(*word)).collect()
}

/// How many lanes differ from the recorded ones, and the first few of them.
fn differences(row: &Instruction, outputs: &[u32], recorded: &SafeTensors<'_>) -> Option<String> {
    let Ok(tensor) = recorded.tensor(&row.name) else {
        return Some("not recorded".to_owned());
    };
    let hardware = little_endian(tensor.data(), u32::from_le_bytes);
    let kept = row.recorded(outputs);
    if kept.len() != hardware.len() {
        let (found, expected) = (kept.len(), hardware.len());
        return Some(format!("{found} words, {expected} recorded"));
    }
    let count = kept.len() / row.outputs;
    let step = if row.is_exhaustive() { 255 } else { 1 };
    let inputs = row.inputs();
    let tanh = Tanh::of(&row.name);
    let mut wrong = 0;
    let mut text = String::new();
    for lane in 0..count {
        let (found, expected) = (words(&kept, lane, count), words(&hardware, lane, count));
        let operands = words(&inputs, lane * step, row.lanes());
        let near = |tanh: &Tanh| tanh.agrees(&operands, &found, &expected);
        if found != expected && !tanh.as_ref().is_some_and(near) {
            wrong += 1;
            if wrong <= 3 {
                let [operands, found, expected] = [operands, found, expected].map(hexadecimal);
                // Writing to a String cannot fail.
                let _ = write!(text, "; {operands} gives {found}, not {expected}");
            }
        }
    }
    if wrong > 0 {
        return Some(format!("{wrong} of {count} lanes{text}"));
    }
    // Digests need the very bits.
    if row.is_exhaustive() && tanh.is_none() {
        let digests = recorded.tensor(&format!("{}.digests", row.name));
        let digests = digests.map(|tensor| little_endian(tensor.data(), u64::from_le_bytes));
        if digests.ok() != Some(row.digests(outputs)) {
            return Some("the recorded lanes agree, the digests of all do not".to_owned());
        }
    }
    None
}

/// A lane's words, of which `all` has one every `lanes` words.
fn words(all: &[u32], lane: usize, lanes: usize) -> Vec<u32> {
    all.iter().skip(lane).step_by(lanes).copied().collect()
}

fn hexadecimal(words: Vec<u32>) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:08x}")).collect();
    words.join(" ")
}

/// `tanh.approx`, of which the interpreter has a part of the hardware's results.
struct Tanh {
    format: Format,
    /// The largest error that PTX allows, and whether it is relative (PTX ISA 9.0, 9.7.3 and 9.7.4).
    error: f64,
    relative: bool,
}

impl Tanh {
    fn of(name: &str) -> Option<Tanh> {
        let format = name.strip_prefix("tanh_approx_")?;
        let (format, error, relative) = match format.trim_end_matches("x2") {
            "f16" => (Format::F16, 2f64.powf(-10.987), false),
            "bf16" => (Format::BF16, 2f64.powi(-8), false),
            _ => (Format::F32, 2f64.powi(-11), true),
        };
        Some(Tanh {
            format,
            error,
            relative,
        })
    }

    /// Whether one lane's results are as near to the hardware's as PTX allows.
    fn agrees(&self, operands: &[u32], found: &[u32], expected: &[u32]) -> bool {
        let bits = self.format.bits();
        (0..32 / bits).all(|part| {
            let code = |words: &[u32]| u64::from(words[0]) >> (part * bits) & ((1 << bits) - 1);
            self.near(code(operands), code(found), code(expected))
        })
    }

    fn near(&self, operand: u64, found: u64, expected: u64) -> bool {
        if found == expected {
            return true;
        }
        let format = self.format;
        let size = format.decode(operand).abs();
        let known = size < 1.0 / 256.0 || (0.25..2.0).contains(&size) || size >= 16.0;
        if known || size.is_nan() {
            return false;
        }
        let (x, y) = (format.decode(found), format.decode(expected));
        let magnitude = expected & (format.sign() - 1);
        let ulp = format.decode(magnitude + 1) - format.decode(magnitude);
        let scale = if self.relative { y.abs() } else { 1.0 };
        // Our result is rounded as well.
        (x - y).abs() <= (self.error * scale + ulp / 2.0).max(ulp)
    }
}
