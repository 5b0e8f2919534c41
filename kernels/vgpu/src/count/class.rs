//! Instructions by what they keep busy.

use serde::Serialize;

/// What an instruction is for, as NVIDIA's profilers group them (CUPTI's `inst_integer`,
/// `inst_fp_32`, `inst_bit_convert`, `inst_inter_thread_communication` and their like), with
/// memory split by space. Read off the PTX opcode: what the assembler makes of one may be several
/// instructions of hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Integer and bitwise arithmetic, comparisons of integers, selections.
    Integer,
    /// Single precision.
    Float,
    /// Double precision.
    Double,
    /// Half precision, one or two values a register.
    Half,
    /// Special functions, divisions and roots.
    Special,
    /// `cvt`.
    Conversion,
    /// Copies between registers and between address spaces.
    Move,
    /// Values exchanged within a warp, and its synchronisation.
    Warp,
    /// Branches, calls and exits.
    #[default]
    Control,
    /// Barriers of a block.
    Barrier,
    /// Memory fences.
    Fence,
    /// Loads of the kernel's parameters.
    Parameter,
    /// Loads of constant memory.
    Constant,
    /// Loads from global memory.
    GlobalLoad,
    /// Stores to global memory.
    GlobalStore,
    /// Loads from shared memory.
    SharedLoad,
    /// Stores to shared memory.
    SharedStore,
    /// Loads and stores of a thread's own memory.
    Local,
    /// Loads and stores whose space only the address tells.
    Generic,
    /// `atom` and `red`.
    Atomic,
    /// `cp.async`.
    AsyncCopy,
    /// Commits of groups of asynchronous copies and waits for them.
    AsyncGroup,
    /// `ldmatrix`, `stmatrix` and `movmatrix`.
    MatrixMove,
    /// `mma`.
    Matrix,
}

/// What is known of an instruction before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) class: Class,
    /// Of `mma`: the operands' type and the operations of a warp, 2 m n k.
    pub(crate) product: Option<(Product, u32)>,
}

/// The type of a matrix product's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Product {
    Bf16,
    F16,
    Tf32,
    F64,
    F8,
    I8,
    Other,
}

impl Kind {
    /// That of an opcode such as `ld.global.v4.u32`.
    pub(crate) fn of(opcode: &str) -> Kind {
        let mut parts = opcode.split('.');
        let stem = parts.next().unwrap_or_default();
        let has = |name: &str| opcode.split('.').skip(1).any(|part| part == name);
        let in_space = |space: &str| {
            let mut parts = opcode.split('.').skip(1);
            parts.any(|part| part.split("::").next() == Some(space))
        };
        let class = match stem {
            "ld" | "ldu" if in_space("param") => Class::Parameter,
            "ld" if in_space("const") => Class::Constant,
            "ld" | "ldu" if in_space("global") => Class::GlobalLoad,
            "ld" if in_space("shared") => Class::SharedLoad,
            "st" if in_space("global") => Class::GlobalStore,
            "st" if in_space("shared") => Class::SharedStore,
            // Arguments of a call that is being prepared lie there too.
            "ld" | "st" if in_space("local") || in_space("param") => Class::Local,
            "ld" | "st" => Class::Generic,
            "atom" | "red" => Class::Atomic,
            "cp" if has("commit_group") || has("wait_group") || has("wait_all") => {
                Class::AsyncGroup
            }
            "cp" => Class::AsyncCopy,
            "ldmatrix" | "stmatrix" | "movmatrix" => Class::MatrixMove,
            "mma" => Class::Matrix,
            "bar" if has("warp") => Class::Warp,
            "bar" | "barrier" => Class::Barrier,
            "membar" | "fence" => Class::Fence,
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => Class::Warp,
            "bra" | "brx" | "ret" | "exit" | "call" | "trap" | "nanosleep" => Class::Control,
            "cvt" => Class::Conversion,
            "mov" | "cvta" => Class::Move,
            "ex2" | "lg2" | "sin" | "cos" | "tanh" | "rcp" | "rsqrt" | "sqrt" => Class::Special,
            "div" if has("f32") || has("f64") => Class::Special,
            _ => Kind::arithmetic(opcode),
        };
        let product = (class == Class::Matrix).then(|| product(opcode));
        Kind {
            class,
            product: product.flatten(),
        }
    }

    fn arithmetic(opcode: &str) -> Class {
        // The operands' type comes last, but for modifiers behind it.
        let mut parts = opcode.rsplit('.');
        let class = parts.find_map(|part| {
            Some(match part {
                "f32" | "f32x2" => Class::Float,
                "f64" => Class::Double,
                "f16" | "f16x2" | "bf16" | "bf16x2" => Class::Half,
                _ => return None,
            })
        });
        class.unwrap_or(Class::Integer)
    }
}

/// The product of `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32`: its type is that of the
/// operand in the second place of four.
fn product(opcode: &str) -> Option<(Product, u32)> {
    let mut parts = opcode.split('.');
    let shape = parts.find_map(|part| {
        let (m, rest) = part.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        Some([m, n, k].map(|side| side.parse::<u32>().ok()))
    })?;
    let operations = match shape {
        [Some(m), Some(n), Some(k)] => 2u32.checked_mul(m)?.checked_mul(n)?.checked_mul(k)?,
        _ => return None,
    };
    let types: Vec<&str> = parts
        .filter(|part| !matches!(*part, "row" | "col" | "satfinite"))
        .collect();
    let product = match types.get(1).copied().unwrap_or_default() {
        "bf16" => Product::Bf16,
        "f16" => Product::F16,
        "tf32" => Product::Tf32,
        "f64" => Product::F64,
        "e4m3" | "e5m2" => Product::F8,
        "u8" | "s8" => Product::I8,
        _ => Product::Other,
    };
    Some((product, operations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_have_their_classes() {
        for (opcode, class) in [
            ("add.s64", Class::Integer),
            ("setp.lt.and.u32", Class::Integer),
            ("selp.b32", Class::Integer),
            ("fma.rn.ftz.f32", Class::Float),
            ("setp.gt.f32", Class::Float),
            ("fma.rn.f64", Class::Double),
            ("fma.rn.bf16x2", Class::Half),
            ("ex2.approx.ftz.f32", Class::Special),
            ("div.rn.f32", Class::Special),
            ("div.u32", Class::Integer),
            ("cvt.rn.bf16x2.f32", Class::Conversion),
            ("mov.b32", Class::Move),
            ("cvta.to.global.u64", Class::Move),
            ("shfl.sync.bfly.b32", Class::Warp),
            ("bar.warp.sync", Class::Warp),
            ("bar.sync", Class::Barrier),
            ("barrier.cta.red.popc.aligned.u32", Class::Barrier),
            ("fence.acq_rel.gpu", Class::Fence),
            ("ld.param.u64", Class::Parameter),
            ("ld.param::entry.u64", Class::Parameter),
            ("ld.const.f32", Class::Constant),
            ("ld.global.nc.v4.u32", Class::GlobalLoad),
            ("st.global.v2.f32", Class::GlobalStore),
            ("ld.shared::cta.f32", Class::SharedLoad),
            ("st.shared.v4.b32", Class::SharedStore),
            ("st.local.f32", Class::Local),
            ("ld.u32", Class::Generic),
            ("red.global.add.f32", Class::Atomic),
            ("cp.async.cg.shared.global.L2::128B", Class::AsyncCopy),
            ("cp.async.wait_group", Class::AsyncGroup),
            (
                "ldmatrix.sync.aligned.m8n8.x4.shared.b16",
                Class::MatrixMove,
            ),
            ("bra.uni", Class::Control),
            ("ret", Class::Control),
        ] {
            assert_eq!(Kind::of(opcode).class, class, "{opcode}");
        }
    }

    #[test]
    fn products_count_two_operations_for_each_multiply_add() {
        let of = |opcode: &str| Kind::of(opcode).product;
        let bf16 = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32";
        assert_eq!(of(bf16), Some((Product::Bf16, 4096)));
        let f8 = "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32";
        assert_eq!(of(f8), Some((Product::F8, 8192)));
        let bytes = "mma.sync.aligned.m16n8k16.row.col.satfinite.s32.u8.s8.s32";
        assert_eq!(of(bytes), Some((Product::I8, 4096)));
        assert_eq!(of("add.f32"), None);
    }
}
