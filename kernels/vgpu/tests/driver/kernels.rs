//! The kernels of the tests.

/// `add`: adds a word to one word of memory a thread. `narrow` is the same with at most 64
/// threads a block, `roomy` with 1,024 bytes of static shared memory, `dies` runs into a trap.
/// `table` is four words of global memory.
pub(crate) const PTX: &str = r"
.version 8.0
.target sm_90
.address_size 64

.visible .global .align 16 .b32 table[4] = {11, 22, 33, 44};

.visible .entry add(
    .param .u64 add_data,
    .param .u32 add_amount
)
{
    .reg .b32 %r<7>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [add_data];
    ld.param.u32 %r1, [add_amount];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd2, %rd3;
    ld.global.u32 %r6, [%rd4];
    add.s32 %r6, %r6, %r1;
    st.global.u32 [%rd4], %r6;
    ret;
}

.visible .entry narrow(
    .param .u64 narrow_data,
    .param .u32 narrow_amount
)
.maxntid 64, 1, 1
{
    ret;
}

.visible .entry roomy(
    .param .u64 roomy_data,
    .param .u32 roomy_amount
)
{
    .shared .align 4 .b8 tile[1024];
    .reg .b32 %r<2>;
    ld.param.u32 %r1, [roomy_amount];
    st.shared.u32 [tile], %r1;
    ret;
}

.visible .entry dies(
    .param .u64 dies_data,
    .param .u32 dies_amount
)
{
    trap;
    ret;
}
";
