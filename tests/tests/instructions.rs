//! Every instruction that was recorded on an H100, on the virtual GPU: the same bits, or for an
//! `.approx` instruction a result within the error that PTX allows.

use gamut_probe::instructions::format::Format;
use gamut_probe::instructions::{Group, Instruction, WARP, groups};
use gamut_tests::nvrtc::NEWEST;
use gamut_vgpu::{Gpu, Launch, Module, Properties};
use safetensors::SafeTensors;
use std::error::Error;
use std::f64::consts::PI;
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
    let approximate = Approximate::of(&row.name);
    let mut wrong = 0;
    let mut text = String::new();
    for lane in 0..count {
        let (found, expected) = (words(&kept, lane, count), words(&hardware, lane, count));
        let operands = words(&inputs, lane * step, row.lanes());
        let same = match &approximate {
            Some(approximate) => approximate.agrees(&operands, &found, &expected),
            None => found == expected,
        };
        if !same {
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
    if row.is_exhaustive() && approximate.is_none() {
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

/// An instruction whose results may differ from the hardware's by a documented error.
struct Approximate<'a> {
    operation: &'a str,
    form: &'a str,
    format: Format,
}

impl<'a> Approximate<'a> {
    /// `None` if the bits have to be the same.
    fn of(name: &'a str) -> Option<Approximate<'a>> {
        let (operation, rest) = name.split_once('_')?;
        let form = rest.split('_').next()?;
        if !["approx", "full"].contains(&form) {
            return None;
        }
        let format = match name.rsplit('_').next()?.trim_end_matches("x2") {
            "f16" => Format::F16,
            "bf16" => Format::BF16,
            "f32" => Format::F32,
            _ => Format::F64,
        };
        Some(Approximate {
            operation,
            form,
            format,
        })
    }

    /// Whether one lane's results are as near to the hardware's as PTX allows.
    fn agrees(&self, operands: &[u32], found: &[u32], expected: &[u32]) -> bool {
        let bits = self.format.bits();
        if bits == 64 {
            // The low half is zero.
            let high = |words: &[u32]| u64::from(words[1]) << 32;
            return self.near(&[high(operands)], high(found), high(expected));
        }
        (0..32 / bits).all(|part| {
            let code = |word: &u32| u64::from(*word) >> (part * bits) & ((1 << bits) - 1);
            let operands: Vec<u64> = operands.iter().map(code).collect();
            self.near(&operands, code(&found[0]), code(&expected[0]))
        })
    }

    fn near(&self, operands: &[u64], found: u64, expected: u64) -> bool {
        if found == expected {
            return true;
        }
        let format = self.format;
        let operands: Vec<f64> = operands.iter().map(|&code| format.decode(code)).collect();
        let (x, y) = (format.decode(found), format.decode(expected));
        if !x.is_finite() || !y.is_finite() || x == y {
            return false;
        }
        let magnitude = expected & (format.sign() - 1);
        let ulp = format.decode(magnitude + 1) - format.decode(magnitude);
        match self.error(&operands, y.abs(), ulp) {
            // Our result is rounded as well.
            Some(error) => (x - y).abs() <= (error + ulp / 2.0).max(ulp),
            None => x.abs() <= 1.0,
        }
    }

    /// The largest error around a result of this magnitude (PTX ISA 9.0, 9.7.3 and 9.7.4); `None`
    /// where there is no guarantee.
    fn error(&self, operands: &[f64], result: f64, ulp: f64) -> Option<f64> {
        let operand = operands[0].abs();
        let wide = self.format == Format::F32;
        Some(match self.operation {
            // Zero or NaN, and nothing else.
            "div" if self.form == "approx" && operands[1].abs() > 2f64.powi(126) => 0.0,
            "div" => 2.0 * ulp,
            // PTX gives none for doubles; the result's high half has 20 bits.
            "rcp" | "rsqrt" if self.format == Format::F64 => result * 2f64.powi(-19),
            "rcp" => ulp,
            "sqrt" => result * 2f64.powi(-23),
            "rsqrt" => result * 2f64.powf(-22.9),
            "ex2" if wide => 2.0 * ulp,
            "ex2" if self.format == Format::F16 => result * 2f64.powf(-9.9),
            "ex2" => result * 2f64.powi(-7),
            "lg2" if operand > 0.5 && operand < 2.0 => 2f64.powi(-22),
            "lg2" => result * 2f64.powi(-22),
            "sin" | "cos" if operand <= 2.0 * PI => 2f64.powf(-20.5),
            "sin" | "cos" if operand <= 100.0 * PI => 2f64.powf(-14.7),
            "sin" | "cos" => return None,
            "tanh" if wide => result * 2f64.powi(-11),
            "tanh" if self.format == Format::F16 => 2f64.powf(-10.987),
            "tanh" => 2f64.powi(-8),
            _ => 0.0,
        })
    }
}
