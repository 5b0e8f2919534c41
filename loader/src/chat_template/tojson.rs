//! The filter `tojson` as transformers defines it: Python's `json.dumps` with `ensure_ascii=False`.

use std::io::{self, Write};

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Bounded;

/// Values nested deeper than this are refused, as they could exhaust the stack.
const MAX_DEPTH: usize = 128;

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(state: &State<'_, '_>, value: &Value, args: Kwargs) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "tojson of an undefined value",
        ));
    }
    let ensure_ascii = args.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = args.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let indent = args
        .get::<Option<Value>>("indent")?
        .map(indentation)
        .transpose()?;
    let separators = args.get::<Option<Vec<String>>>("separators")?;
    args.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",", ": "),
        None => (", ", ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(invalid("tojson takes two separators".to_owned())),
    };
    let style = Style {
        item,
        key,
        indent: indent.as_deref(),
        ensure_ascii,
    };
    let json = if sort_keys {
        let mut sorted: serde_json::Value = serde_json::from_str(&dumps(value, style)?)
            .map_err(|error| invalid(error.to_string()))?;
        sorted.sort_all_objects();
        dumps(&sorted, style)?
    } else {
        dumps(value, style)?
    };
    // Walking a value costs more than the copying of its bytes, which the engine charges itself.
    state.consume_fuel(json.len() as u64 / 4)?;
    Ok(json)
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// One level of indentation: a number of spaces, or a string.
fn indentation(value: Value) -> Result<String, Error> {
    const MOST: usize = 64;
    match value.kind() {
        ValueKind::String => Ok(value.to_string()),
        _ => match usize::try_from(value)? {
            spaces @ 0..=MOST => Ok(" ".repeat(spaces)),
            spaces => Err(invalid(format!(
                "tojson indents by {spaces}, expected at most {MOST}"
            ))),
        },
    }
}

fn dumps(value: &impl Serialize, style: Style<'_>) -> Result<String, Error> {
    let mut out = Bounded::default();
    let formatter = PythonFormatter {
        style,
        depth: 0,
        empty: true,
    };
    value
        .serialize(&mut Serializer::with_formatter(&mut out, formatter))
        .map_err(|error| invalid(format!("tojson: {error}")))?;
    out.into_string()
        .map_err(|error| invalid(error.to_string()))
}

#[derive(Clone, Copy)]
struct Style<'a> {
    /// Between two items.
    item: &'a str,
    /// Between a key and its value.
    key: &'a str,
    /// One level of indentation; without, all is on one line.
    indent: Option<&'a str>,
    /// Whether to escape everything beyond printable ASCII.
    ensure_ascii: bool,
}

/// Lays JSON out as Python does.
struct PythonFormatter<'a> {
    style: Style<'a>,
    depth: usize,
    /// Whether the container just ended or being written has no items so far.
    empty: bool,
}

impl PythonFormatter<'_> {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(io::Error::other(format!(
                "nested deeper than {MAX_DEPTH} levels"
            )));
        }
        self.depth += 1;
        self.empty = true;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !self.empty {
            self.break_line(out)?;
        }
        self.empty = false;
        out.write_all(bracket)
    }

    fn separate<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(self.style.item.as_bytes())?;
        }
        self.empty = false;
        self.break_line(out)
    }

    fn break_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        let Some(indent) = self.style.indent else {
            return Ok(());
        };
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(indent.as_bytes()))
    }
}

impl Formatter for PythonFormatter<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.separate(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.separate(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.style.key.as_bytes())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        out.write_all(python_float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.style.ensure_ascii {
            return out.write_all(fragment.as_bytes());
        }
        fragment
            .encode_utf16()
            .try_for_each(|unit| match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => out.write_all(&[byte]),
                _ => write!(out, "\\u{unit:04x}"),
            })
    }
}

/// `repr` of a finite float: the shortest digits, with an exponent of at least two digits where
/// it is below -4 or above 15.
fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    match scientific
        .split_once('e')
        .map(|(digits, exponent)| (digits, exponent.parse::<i32>()))
    {
        Some((digits, Ok(exponent))) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Map, json};

    use crate::chat_template::{ChatTemplate, TemplateOptions};

    /// Renders with a variable `d`; the expectations in these tests are Python's output.
    fn render(source: &str) -> Result<String, String> {
        let value = json!({
            "b": [1, {}], "a": "é<\u{2028}\u{1}\u{7f}\"\\/🎵", "n": null, "f": 0.1, "e": [],
            "g": 1e22, "h": 123456789012.5, "i": -0.0, "j": 5e-324, "k": 0.0001, "l": 0.00001,
        });
        let options = TemplateOptions {
            variables: Map::from_iter([("d".to_owned(), value)]),
            ..TemplateOptions::default()
        };
        ChatTemplate::new(Path::new("t"), source, Map::new())
            .and_then(|template| template.render(&[], &options))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn equals_json_dumps() {
        assert_eq!(
            render("{{ d|tojson }}").unwrap(),
            "{\"b\": [1, {}], \"a\": \"é<\u{2028}\\u0001\u{7f}\\\"\\\\/🎵\", \"n\": null, \"f\": 0.1, \
             \"e\": [], \"g\": 1e+22, \"h\": 123456789012.5, \"i\": -0.0, \"j\": 5e-324, \
             \"k\": 0.0001, \"l\": 1e-05}"
        );
        assert_eq!(
            render("{{ d|tojson(ensure_ascii=True, sort_keys=true, separators=(',', ':')) }}")
                .unwrap(),
            "{\"a\":\"\\u00e9<\\u2028\\u0001\\u007f\\\"\\\\/\\ud83c\\udfb5\",\"b\":[1,{}],\"e\":[],\
             \"f\":0.1,\"g\":1e+22,\"h\":123456789012.5,\"i\":-0.0,\"j\":5e-324,\"k\":0.0001,\
             \"l\":1e-05,\"n\":null}"
        );
    }

    #[test]
    fn indents_as_python_does() {
        assert_eq!(
            render("{{ d.b|tojson(indent=2) }}").unwrap(),
            "[\n  1,\n  {}\n]"
        );
        assert_eq!(
            render("{{ d.b|tojson(indent=0) }}").unwrap(),
            "[\n1,\n{}\n]"
        );
        assert_eq!(
            render("{{ {'x': [d.b]}|tojson(indent='\t') }}").unwrap(),
            "{\n\t\"x\": [\n\t\t[\n\t\t\t1,\n\t\t\t{}\n\t\t]\n\t]\n}"
        );
        assert_eq!(render("{{ []|tojson(indent=4) }}").unwrap(), "[]");
    }

    #[test]
    fn refuses_what_has_no_json() {
        assert!(
            render("{{ nothing|tojson }}")
                .unwrap_err()
                .contains("undefined")
        );
        assert!(
            render("{{ 1|tojson(indent=65) }}")
                .unwrap_err()
                .contains("65, expected at most 64")
        );
        assert!(
            render("{{ 1|tojson(separators=[',']) }}")
                .unwrap_err()
                .contains("two separators")
        );
        assert!(
            render("{{ 1|tojson(colour=1) }}")
                .unwrap_err()
                .contains("colour")
        );
    }

    #[test]
    fn is_bounded_in_depth_and_size() {
        let nest = |times: usize, step: &str| {
            format!(
                "{{% set ns = namespace(x=[]) %}}{{% for i in range({times}) %}}\
                 {{% set ns.x = {step} %}}{{% endfor %}}{{{{ ns.x|tojson }}}}"
            )
        };
        assert_eq!(render(&nest(127, "[ns.x]")).unwrap().len(), 256);
        assert!(
            render(&nest(128, "[ns.x]"))
                .unwrap_err()
                .contains("deeper than 128")
        );
        assert!(
            render(&nest(60, "[ns.x, ns.x]"))
                .unwrap_err()
                .contains("too large")
        );
    }
}
