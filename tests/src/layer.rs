//! A layer's attention with weights of no meaning, for tests of what surrounds it.

use bytes::Bytes;
use gamut_kernels::ops::{
    QkNorm, RmsNorm, Rope, Source, attention_paged, embed, gemm_f32, rope_kv,
};
use gamut_kernels::{
    Batch, Context, DType, Device, KvCache, Linear, PAGE, Result, Sequence, Tensor, Weight,
};

const WIDTH: usize = 96;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 32;
/// Tokens that it has embeddings of.
pub const VOCABULARY: usize = 500;
/// Pages of the longest sequence.
pub const PAGES: usize = 16;

/// A weight of values in about (-1, 1) / sqrt(`cols`).
///
/// # Panics
/// If the sizes are too large for memory.
pub fn weight(rows: usize, cols: usize, seed: u64) -> Weight {
    let value = |i: usize| {
        let x = (i as u64 + 1)
            .wrapping_mul(seed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 40;
        (x as f32 / (1 << 23) as f32 - 1.0) / (cols as f32).sqrt()
    };
    let bytes: Vec<u8> = (0..rows * cols)
        .flat_map(|i| value(i).to_le_bytes())
        .collect();
    Weight::new(DType::F32, rows, cols, Bytes::from(bytes)).expect("as many bytes as elements")
}

/// `rows` rows of a sequence from `start` on.
pub fn sequence(pages: &[u32], start: usize, rows: usize, generated: bool) -> Sequence<'_> {
    Sequence {
        generated,
        start,
        rows,
        pages,
    }
}

/// Embedding, projection, rotation, cache and attention; and logits from what was attended to.
#[derive(Debug)]
pub struct AttentionLayer {
    table: Weight,
    qkv: Linear,
    norm: QkNorm,
    /// From the attention's output.
    pub logits: Linear,
    rope: Rope,
}

impl AttentionLayer {
    /// The layer on a device, its weights loaded; the rotation's table is in `own`.
    ///
    /// # Panics
    /// If the device does not take it.
    pub fn new(device: &Device, own: &Context) -> AttentionLayer {
        let linear = |rows, cols, seed| Linear::new(weight(rows, cols, seed), None);
        let norm = || RmsNorm {
            weight: weight(1, HEAD_DIM, 5),
            eps: 1e-6,
        };
        let columns = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
        let layer = AttentionLayer {
            table: weight(VOCABULARY, WIDTH, 3),
            qkv: linear(columns, WIDTH, 7).expect("no bias"),
            norm: QkNorm {
                q: norm(),
                k: norm(),
            },
            logits: linear(VOCABULARY, HEADS * HEAD_DIM, 11).expect("no bias"),
            rope: Rope::new(own, 1e6, HEAD_DIM, PAGES * PAGE).expect("room for the rotation"),
        };
        layer.load(device).expect("room for the weights");
        layer
    }

    fn load(&self, device: &Device) -> Result<()> {
        let plan = Context::plan(device.target());
        let mut kv = self.cache(&plan, PAGES);
        let pages: Vec<u32> = (0..PAGES as u32).collect();
        for generated in [false, true] {
            let sequence = [sequence(&pages, 0, 1, generated)];
            let batch = plan.step(&sequence, &[Source::Token(0)], &[])?;
            let attended = self.attended(&plan, &batch, &mut kv)?;
            gemm_f32(&plan, &attended, &self.logits)?;
        }
        device.load(&[&plan])
    }

    /// A cache of `pages` pages.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn cache(&self, own: &Context, pages: usize) -> KvCache {
        KvCache::new(own, 1, pages, KV_HEADS, HEAD_DIM).expect("room for the cache")
    }

    /// Some token for a position.
    pub fn token(&self, position: usize) -> Source {
        Source::Token((position * 17 % VOCABULARY) as u32)
    }

    /// What every row of the batch attends to; its keys and values go to the cache.
    ///
    /// # Errors
    /// If the device fails.
    pub fn attended(&self, cx: &Context, batch: &Batch<'_>, kv: &mut KvCache) -> Result<Tensor> {
        let x = embed(cx, &self.table, None, batch.sources())?;
        let qkv = gemm_f32(cx, &x, &self.qkv)?;
        let q = rope_kv(cx, &qkv, batch, Some(&self.norm), &self.rope, kv, 0)?;
        attention_paged(cx, &q, batch, kv, 0)
    }
}
