//! What a mutant lacks: places in a kernel's PTX, by the lines of CUDA that they come from.

use std::collections::BTreeMap;
use std::fmt;

/// What is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `bar` or `barrier`, of a block or a warp.
    Barrier,
    /// `cp.async.commit_group`.
    Commit,
    /// `cp.async.wait_group` or `cp.async.wait_all`.
    Wait,
    /// `fence` or `membar`.
    Fence,
    /// A test that is marked with `GUARD`, by the mark's number: it holds always.
    Guard(u32),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Barrier => "barrier",
            Kind::Commit => "commit",
            Kind::Wait => "wait",
            Kind::Fence => "fence",
            // A line may have several.
            Kind::Guard(number) => return write!(f, "guard {number:08x}"),
        })
    }
}

/// A line of CUDA.
type Place = (String, u32);

/// All copies of a barrier, wait, fence or guard that come from the same lines, in all kernels of a
/// file: those that unrolling makes, and those of templates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Where it is, then where that was inlined, and so on to the kernel.
    places: Vec<Place>,
    /// What it is.
    kind: Kind,
}

impl Site {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// From the inside out, such as `barrier common.cuh:152 < sample.cu:149`.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        for (i, (file, line)) in self.places.iter().enumerate() {
            let apart = if i > 0 { " < " } else { "" };
            write!(f, "{apart}{file}:{line}")?;
        }
        Ok(())
    }
}

/// A line of PTX that belongs to a site.
struct Mark<'a> {
    site: Site,
    kernel: &'a str,
    /// Counted from 0.
    line: usize,
    /// The register that holds a guard's test.
    register: &'a str,
}

/// A position as `.loc` gives it: file, line, column.
type Position = [u32; 3];

/// `.loc file line column[, function_name label, inlined_at file line column]` (PTX ISA 11.5.3).
fn loc(line: &str) -> Option<(Position, Option<Position>)> {
    let rest = line.strip_prefix(".loc")?;
    let (own, caller) = match rest.split_once("inlined_at") {
        Some((own, caller)) => (own, Some(caller)),
        None => (rest, None),
    };
    let own = position(own.split(',').next()?)?;
    Some((own, caller.and_then(position)))
}

fn position(text: &str) -> Option<Position> {
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

/// The names of files by their numbers.
fn file_names(ptx: &str) -> BTreeMap<u32, &str> {
    let named = ptx.lines().filter_map(|line| {
        let (number, path) = line.trim().strip_prefix(".file")?.split_once('"')?;
        let path = path.split('"').next()?;
        Some((number.trim().parse().ok()?, path.rsplit('/').next()?))
    });
    named.collect()
}

fn kind(line: &str) -> Option<(Kind, &str)> {
    if let Some(mark) = line.strip_prefix("// guard ") {
        let (register, number) = mark.split_once(' ').unwrap_or((mark, ""));
        let number = number.parse();
        let number = number.unwrap_or_else(|e| panic!("guard without a number: {line}: {e}"));
        return Some((Kind::Guard(number), register));
    }
    let instruction = match line.strip_prefix('@') {
        Some(guarded) => guarded.split_once(char::is_whitespace)?.1.trim_start(),
        None => line,
    };
    let opcode = instruction.split([' ', '\t', ';']).next()?;
    let kind = match opcode.split('.').next()? {
        "bar" | "barrier" => Kind::Barrier,
        "fence" | "membar" => Kind::Fence,
        _ if opcode.starts_with("cp.async.wait") => Kind::Wait,
        _ if opcode.starts_with("cp.async.commit") => Kind::Commit,
        _ => return None,
    };
    Some((kind, ""))
}

/// The one-line functions that wrap an instruction or a mark: they are in every site alike.
fn is_wrapper(kind: Kind) -> bool {
    !matches!(kind, Kind::Barrier | Kind::Fence)
}

fn marks(ptx: &str) -> Vec<Mark<'_>> {
    let files = file_names(ptx);
    let mut kernel = "";
    // How the positions that were met last came to be inlined, from the inside out.
    let mut chains: BTreeMap<Position, Vec<Position>> = BTreeMap::new();
    let mut chain = Vec::new();
    let mut found = Vec::new();
    for (line, text) in ptx.lines().enumerate() {
        let text = text.trim();
        if let Some((_, name)) = text.split_once(".entry ") {
            kernel = name.split('(').next().unwrap_or(name);
            chains.clear();
        } else if let Some((own, caller)) = loc(text) {
            chain = vec![own];
            if let Some(caller) = caller {
                let callers = chains.get(&caller).cloned();
                chain.extend(callers.unwrap_or_else(|| vec![caller]));
            }
            chains.insert(own, chain.clone());
        } else if let Some((kind, register)) = kind(text) {
            let wrapped = usize::from(is_wrapper(kind) && chain.len() > 1);
            let places = chain[wrapped..].iter().map(|&[file, line, _]| {
                let name = files.get(&file).copied().unwrap_or_default();
                (name.to_owned(), line)
            });
            found.push(Mark {
                site: Site {
                    places: places.collect(),
                    kind,
                },
                kernel,
                line,
                register,
            });
        }
    }
    found
}

/// The kernels without a site.
pub(super) fn without(ptx: &str, site: &Site) -> String {
    let mut lines: Vec<String> = ptx.lines().map(str::to_owned).collect();
    for mark in marks(ptx).iter().filter(|mark| mark.site == *site) {
        lines[mark.line] = match site.kind {
            Kind::Guard(_) => format!("mov.b32 {}, 1;", mark.register),
            _ => String::new(),
        };
    }
    lines.join("\n")
}

/// A line that runs where a site has an effect.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) site: Site,
    pub(super) kernel: String,
    /// Counted from 1.
    pub(super) line: u32,
}

/// The kernels with a line for every site that runs where it has an effect: the instruction itself,
/// or for a guard one that runs in lanes where it does not hold.
pub(super) fn witnessed(ptx: &str) -> (String, Vec<Witness>) {
    let marks = marks(ptx);
    let mut marks = marks.into_iter().peekable();
    let mut lines: Vec<String> = Vec::new();
    let mut witnesses = Vec::new();
    for (number, text) in ptx.lines().enumerate() {
        let Some(mark) = marks.next_if(|mark| mark.line == number) else {
            lines.push(text.to_owned());
            continue;
        };
        match mark.site.kind {
            Kind::Guard(_) => {
                let register = mark.register;
                lines.push("{ .reg .pred %fails;".to_owned());
                lines.push(format!("setp.eq.u32 %fails, {register}, 0;"));
                lines.push(format!("@%fails mov.b32 {register}, 0;"));
            }
            _ => lines.push(text.to_owned()),
        }
        witnesses.push(Witness {
            line: lines.len() as u32,
            kernel: mark.kernel.to_owned(),
            site: mark.site,
        });
        if !mark.register.is_empty() {
            lines.push("}".to_owned());
        }
    }
    (lines.join("\n"), witnesses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = r#".visible .entry first(
)
{
    .loc 1 80 5
    .loc 2 14 5, function_name $L__info_string0, inlined_at 1 80 5
    // guard %r12 77
    .loc 1 90 3
    .loc 2 152 5, function_name $L__info_string2, inlined_at 1 149 5
    bar.sync 0;
    .loc 1 149 5, function_name $L__info_string2, inlined_at 1 200 9
    .loc 2 152 5, function_name $L__info_string2, inlined_at 1 149 5
    @%p1 bar.warp.sync -1;
    .loc 1 300 9
    cp.async.wait_group 0;
    ld.shared.u32 %r1, [bar];
}
.file 1 "/somewhere/sample.cu"
.file 2 "/somewhere/common.cuh"
"#;

    #[test]
    fn sites_are_named_by_the_lines_that_they_come_from() {
        let found: Vec<String> = marks(PTX)
            .iter()
            .map(|mark| format!("{} {}", mark.line, mark.site))
            .collect();
        let expected = [
            "5 guard 0000004d sample.cu:80",
            "8 barrier common.cuh:152 < sample.cu:149",
            "11 barrier common.cuh:152 < sample.cu:149 < sample.cu:200",
            "13 wait sample.cu:300",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn one_site_is_removed_and_the_others_stay() {
        let all = marks(PTX);
        let guard = without(PTX, &all[0].site);
        assert!(guard.contains("\nmov.b32 %r12, 1;\n"), "{guard}");
        assert_eq!(marks(&guard).len(), 3);
        let barrier = without(PTX, &all[1].site);
        assert!(!barrier.contains("bar.sync"), "{barrier}");
        assert!(barrier.contains("bar.warp.sync"), "{barrier}");
    }

    #[test]
    fn witnesses_stand_where_sites_have_an_effect() {
        let (text, witnesses) = witnessed(PTX);
        let lines: Vec<&str> = text.lines().collect();
        let found: Vec<&str> = witnesses
            .iter()
            .map(|w| lines[w.line as usize - 1].trim())
            .collect();
        let expected = [
            "@%fails mov.b32 %r12, 0;",
            "bar.sync 0;",
            "@%p1 bar.warp.sync -1;",
            "cp.async.wait_group 0;",
        ];
        assert_eq!(found, expected);
    }
}
