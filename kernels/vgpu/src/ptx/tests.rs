//! The parser on the forms that NVRTC writes.

use super::*;

const HEAD: &str = ".version 9.0\n.target sm_90a // arch\n.address_size 64\n";

fn body_of(statements: &str) -> String {
    format!("{HEAD}.visible .entry k(.param .u64 p)\n{{\n{statements}\n}}\n")
}

/// The only instruction of a body.
fn instruction(text: &str) -> Instruction<'_> {
    let mut module = parse(text).expect("parses");
    let body = module.functions.remove(0).body.expect("a body");
    let found = body.into_iter().find_map(|statement| match statement {
        Statement::Instruction(instruction) => Some(instruction),
        _ => None,
    });
    found.expect("an instruction")
}

#[test]
fn the_head_is_read() {
    let module = parse(HEAD).expect("parses");
    assert_eq!((module.version, module.target), ("9.0", "sm_90a"));
}

#[test]
fn operands_of_all_kinds() {
    let text = body_of("@!%p1 ld.global.L1::no_allocate.L2::128B.v2.f32 {%f1, _}, [%rd1+-8];");
    let found = instruction(&text);
    assert_eq!(
        found.guard,
        Some(Guard {
            name: "%p1",
            negated: true
        })
    );
    assert_eq!(found.opcode, "ld.global.L1::no_allocate.L2::128B.v2.f32");
    assert_eq!(found.line, 6);
    let address = Address {
        base: Some("%rd1"),
        offset: -8,
    };
    let vector = Operand::Vector(vec![Operand::Name("%f1"), Operand::Name("_")]);
    assert_eq!(found.operands, [vector, Operand::Address(address)]);

    let text = body_of("shfl.sync.bfly.b32 %r1|%p1, %r2, 0x1F, -1, 0b101;");
    let found = instruction(&text);
    let pair = [Operand::Name("%r1"), Operand::Name("%p1")];
    assert_eq!(found.operands[0], Operand::Pair(Box::new(pair)));
    let numbers = [0x1f, u64::MAX, 5].map(|n| Operand::Number(Number::Integer(n)));
    assert_eq!(found.operands[2..], numbers);
}

#[test]
fn numbers_keep_their_bits() {
    for (text, expected) in [
        ("0f3F800000", Number::Single(0x3f80_0000)),
        ("-0f3F800000", Number::Single(0xbf80_0000)),
        ("0dC000000000000000", Number::Double(0xc000_0000_0000_0000)),
        ("4294967295U", Number::Integer(0xffff_ffff)),
        ("017", Number::Integer(15)),
        ("0", Number::Integer(0)),
        ("0xFU", Number::Integer(15)),
        ("1.5", Number::Double(1.5f64.to_bits())),
    ] {
        let text = body_of(&format!("mov.b64 %rd1, {text};"));
        assert_eq!(
            instruction(&text).operands[1],
            Operand::Number(expected),
            "{text}"
        );
    }
}

#[test]
fn lines_of_the_source_are_kept() {
    let text = body_of(
        ".loc 1 12 3\n.loc 2 40 7, function_name $L__info_string0, inlined_at 1 12 3\nret;",
    ) + ".file 2 \"a/b.cuh\"\n.section .debug_str { $L__info_string0: .b8 102,0 }";
    assert_eq!(
        instruction(&text).source,
        Some(SourceLine { file: 2, line: 40 })
    );
    assert_eq!(parse(&text).expect("parses").files[&2], "a/b.cuh");
}

#[test]
fn declarations() {
    let text = format!(
        "{HEAD}
        .extern .shared .align 16 .b8 smem[];
        .const .align 4 .b8 table[8] = {{1, 2, {{3}}, 4}};
        .global .align 8 .u64 pointer = generic(table)+4;
        .global .f32 x[2][3];
        .func (.param .b32 r) f(.param .b32 a) .noreturn;
        .visible .entry k(
            .param .align 8 .b8 s[24],
            .param .u64 .ptr .global .align 16 q
        ) .maxntid 128, 2 .minnctapersm 2 {{ .reg .b32 %r<5>; {{ .reg .b32 temp; }} ret; }}"
    );
    let module = parse(&text).expect("parses");
    let sizes: Vec<_> = module
        .variables
        .iter()
        .map(|v| (v.name, v.bytes, v.align))
        .collect();
    assert_eq!(
        sizes,
        [
            ("smem", 0, 16),
            ("table", 8, 4),
            ("pointer", 8, 8),
            ("x", 24, 4)
        ]
    );
    assert_eq!(module.variables[1].initial.len(), 4);
    assert!(matches!(
        module.variables[2].initial[..],
        [Initial::Address {
            name: "table",
            offset: 4
        }]
    ));
    let kernel = &module.functions[1];
    assert_eq!(kernel.max_threads, Some([128, 2, 1]));
    let params: Vec<_> = kernel
        .params
        .iter()
        .map(|p| (p.name, p.bytes, p.align))
        .collect();
    assert_eq!(params, [("s", 24, 8), ("q", 8, 8)]);
}

#[test]
fn errors_name_the_line() {
    let error = parse(&body_of("mov.u32 %r1, ;\n")).expect_err("refused");
    assert_eq!((error.line, error.text.as_str()), (6, "mov.u32 %r1, ;"));
}

/// Whatever is cut off or garbled, the parser returns.
#[test]
fn broken_text_is_refused_without_a_panic() {
    let text = body_of(".reg .b32 %r<2>; { add.s32 %r0, %r1, [%r1+4]; } L: bra L; .loc 1 2 3");
    for end in 0..text.len() {
        let _ = parse(&text[..end]);
        let mut garbled = text.clone();
        garbled.replace_range(end..=end, "}");
        let _ = parse(&garbled);
    }
}
