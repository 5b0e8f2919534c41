//! Traps, assertions and `printf`.

use crate::code::Inst;
use crate::exec::column::lanes_of;
use crate::exec::{Cx, Operation, Outcome, Trouble};
use crate::fault::FaultKind;

/// `trap`.
pub(crate) struct Trap;

impl Operation for Trap {
    #[inline(always)]
    fn run(_: &mut Cx<'_>, _: &Inst, mask: u32) -> Outcome {
        Err(Trouble::new(
            FaultKind::Trap,
            mask.trailing_zeros() as usize,
            "the kernel trapped",
        ))
    }
}

/// `__assertfail(message, file, line, function, size)`: `a` to `c` hold pointers to the message
/// and the file, and the line.
pub(crate) struct AssertFail;

impl Operation for AssertFail {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let lane = mask.trailing_zeros() as usize;
        let message = text(cx, cx.read::<u64>(inst.a)[lane]);
        let file = text(cx, cx.read::<u64>(inst.b)[lane]);
        let line = cx.read::<u32>(inst.c)[lane];
        let detail = format!("`{message}` at {file}:{line}");
        Err(Trouble::new(FaultKind::Assert, lane, detail))
    }
}

/// `vprintf(format, arguments)`: the lines go to standard error.
pub(crate) struct Print;

impl Operation for Print {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        for lane in lanes_of(mask) {
            let format = text(cx, cx.read::<u64>(inst.a)[lane]);
            let arguments = cx.read::<u64>(inst.b)[lane];
            eprint!("{}", render(cx, lane, &format, arguments));
            cx.write::<u32>(inst.d)[lane] = 0;
        }
        Ok(())
    }
}

/// Longest text that is read from device memory, in bytes.
const MAX_TEXT: u64 = 4096;

/// The zero-terminated text at `address` of global memory.
fn text(cx: &mut Cx<'_>, address: u64) -> String {
    let mut bytes = Vec::new();
    for offset in 0..MAX_TEXT {
        match super::memory::byte(cx, 0, address.wrapping_add(offset)) {
            None | Some(0) => break,
            Some(byte) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fills in a format's arguments, which lie one after the other, each aligned to its size.
fn render(cx: &mut Cx<'_>, lane: usize, format: &str, arguments: u64) -> String {
    let mut out = String::new();
    let mut at = arguments;
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        out += &rest[..start];
        rest = &rest[start + 1..];
        let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic() && !"hlzjt".contains(c)) else {
            // "%%" and nonsense are printed as they are.
            out.push('%');
            rest = rest.strip_prefix('%').unwrap_or(rest);
            continue;
        };
        if let Some(plain) = rest.strip_prefix('%') {
            out.push('%');
            rest = plain;
            continue;
        }
        let (flags, kind) = (&rest[..end], &rest[end..=end]);
        let wide = flags.contains(['l', 'z', 'j', 't']) || "eEfFgGaAsp".contains(kind);
        let size = if wide { 8 } else { 4 };
        at = at.next_multiple_of(size);
        let mut raw = [0; 8];
        for (i, byte) in raw.iter_mut().take(size as usize).enumerate() {
            *byte = super::memory::byte(cx, lane, at.wrapping_add(i as u64)).unwrap_or(0);
        }
        at = at.wrapping_add(size);
        let raw = u64::from_le_bytes(raw);
        let (width, precision) = sizes(flags);
        out += &match kind {
            "d" | "i" if wide => format!("{:width$}", raw as i64),
            "d" | "i" => format!("{:width$}", raw as u32 as i32),
            "x" => format!("{raw:width$x}"),
            "X" => format!("{raw:width$X}"),
            "o" => format!("{raw:width$o}"),
            "p" => format!("{raw:#width$x}"),
            "c" => char::from(raw as u8).to_string(),
            "s" => text(cx, raw),
            "e" | "E" => format!("{:width$.precision$e}", f64::from_bits(raw)),
            "f" | "F" => format!("{:width$.precision$}", f64::from_bits(raw)),
            "g" | "G" | "a" | "A" => format!("{:width$}", f64::from_bits(raw)),
            _ => format!("{raw:width$}"),
        };
        rest = &rest[end + 1..];
    }
    out + rest
}

/// Width and precision of a conversion, at most 64.
fn sizes(flags: &str) -> (usize, usize) {
    let digits = flags.trim_matches(|c: char| !c.is_ascii_digit() && c != '.');
    let (width, precision) = digits.split_once('.').unwrap_or((digits, "6"));
    let number = |text: &str, default: usize| text.parse().unwrap_or(default).min(64);
    (number(width, 0), number(precision, 6))
}
