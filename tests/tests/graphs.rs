//! A step of generated tokens as a CUDA graph: the bits of each sequence alone, whatever fills up
//! the bucket, and at every launch those of the tables that it finds.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_kernels::ops::{Draw, Source, gemm, gemm_f32, start_sampling};
use gamut_kernels::{
    Batch, Bucket, Context, DType, Graph, History, KvCache, Linear, Result, Sampling, Sequence,
    Tensor,
};
use gamut_tests::layer::{AttentionLayer, PAGES, VOCABULARY, sequence, weight};
use gamut_tests::virtual_gpu;

const ROOM: usize = 64 << 20;

/// Logits of one generated token of each sequence, each in a step of its own.
fn alone(
    (cx, layer): (&Context, &AttentionLayer),
    kv: &mut KvCache,
    sequences: &[Sequence<'_>],
    tokens: &[Source],
) -> Vec<u32> {
    let mut all = Vec::new();
    for (sequence, token) in sequences.iter().zip(tokens) {
        let batch = cx
            .step(std::slice::from_ref(sequence), &[*token], &[0])
            .unwrap();
        all.extend(logits(cx, layer, &batch, kv).unwrap().to_vec().unwrap());
    }
    bits(&all)
}

fn logits(
    cx: &Context,
    layer: &AttentionLayer,
    batch: &Batch<'_>,
    kv: &mut KvCache,
) -> Result<Tensor> {
    let attended = layer.attended(cx, batch, kv)?;
    gemm_f32(cx, &attended, &layer.logits)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn tokens(seed: usize, count: usize) -> Vec<Source> {
    let token = |i| ((seed * 31 + i * 17) % VOCABULARY) as u32;
    (0..count).map(|i| Source::Token(token(i))).collect()
}

#[test]
fn a_graph_gives_the_bits_of_each_sequence_alone() {
    // One key, one past a page, at and one past the border of a split.
    const LENGTHS: [usize; 5] = [0, 64, 255, 256, 700];
    for dtype in [DType::BF16, DType::F32] {
        let device = virtual_gpu(dtype);
        let own = Context::new(&device, ROOM).unwrap();
        let cx = Context::new(&device, ROOM).unwrap();
        let layer = AttentionLayer::new(&device, &own);
        let mut kv = layer.cache(&own, LENGTHS.len() * PAGES);
        let pages: Vec<Vec<u32>> = (0..LENGTHS.len() as u32)
            .map(|i| {
                (0..PAGES as u32)
                    .map(|page| page * LENGTHS.len() as u32 + i)
                    .collect()
            })
            .collect();
        for (i, (length, pages)) in LENGTHS.into_iter().zip(&pages).enumerate() {
            let prompt = [sequence(pages, 0, length, false)];
            let sources = tokens(i, length);
            let batch = cx.step(&prompt, &sources, &[]).unwrap();
            layer.attended(&cx, &batch, &mut kv).unwrap();
        }
        let bucket = Bucket::holding(LENGTHS.len(), 703);
        assert_eq!(bucket.rows(), 8);
        let mut tables = own.table_memory(bucket.table_len()).unwrap();
        let mut graph: Option<Graph> = None;
        // The last step has fewer sequences than the one that was recorded.
        for (step, count) in [(0, 5), (1, 5), (2, 3)] {
            let sequences: Vec<Sequence<'_>> = LENGTHS[5 - count..]
                .iter()
                .zip(&pages[5 - count..])
                .map(|(length, pages)| sequence(pages, length + step, 1, true))
                .collect();
            let sources = tokens(100 + step, count);
            let expected = alone((&cx, &layer), &mut kv, &sequences, &sources);
            let known = (&kv, VOCABULARY);
            let batch =
                Batch::in_bucket(&cx, bucket, &mut tables, known, &sequences, &sources).unwrap();
            if graph.is_none() {
                graph = Some(cx.record(|cx| logits(cx, &layer, &batch, &mut kv)).unwrap());
            }
            let launched = cx.launch(graph.as_mut().unwrap(), count).unwrap();
            let found = launched.to_vec().unwrap();
            assert_eq!(bits(&found), expected, "{dtype}, step {step}");
        }
    }
}

/// What the driver's library allocates is its own, and not counted.
#[test]
fn a_steady_step_allocates_nothing() {
    let device = virtual_gpu(DType::BF16);
    let [own, cx] = [(); 2].map(|()| Context::new(&device, ROOM).unwrap());
    let layer = AttentionLayer::new(&device, &own);
    let mut kv = layer.cache(&own, 2 * PAGES);
    let pages: [Vec<u32>; 2] = [0, 1].map(|i| (0..PAGES as u32).map(|page| 2 * page + i).collect());
    let bucket = Bucket::holding(2, 256);
    let mut tables = own.table_memory(bucket.table_len()).unwrap();
    let mut graph: Option<Graph> = None;
    let (sampling, history) = (Sampling::default(), History::new(&[3, 5]));
    let mut chosen = Vec::new();
    for step in 0..6 {
        let sequences = [0, 1].map(|i| sequence(&pages[i], step, 1, true));
        let sources = tokens(step, 2);
        let draws = [0, 1].map(|i| Draw::new(&sampling, &history, i));
        let counted = allocation_counter::measure(|| {
            let known = (&kv, VOCABULARY);
            let batch = Batch::in_bucket(&cx, bucket, &mut tables, known, &sequences, &sources);
            let batch = batch.unwrap();
            if graph.is_none() {
                graph = Some(cx.record(|cx| logits(cx, &layer, &batch, &mut kv)).unwrap());
            }
            let logits = cx.launch(graph.as_mut().unwrap(), 2).unwrap();
            let pending = start_sampling(&own, &logits, &draws).unwrap();
            pending.wait(&mut chosen).unwrap();
        });
        assert!(chosen.iter().all(Result::is_ok) && chosen.len() == 2);
        // The first ones record the graph, load kernels and make lists.
        assert!(
            step < 3 || counted.count_total == 0,
            "step {step}: {counted:?}"
        );
    }
}

fn message<T>(result: Result<T>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn what_a_graph_cannot_hold_is_refused() {
    let device = virtual_gpu(DType::BF16);
    let cx = Context::new(&device, ROOM).unwrap();
    let linear = Linear::new(weight(8, 64, 3), None).unwrap();
    let x = cx.upload(&[1.0; 64], 64).unwrap();
    let copies = message(cx.record(|cx| cx.upload(&[1.0], 1)));
    assert!(copies.contains("a graph is being recorded"), "{copies}");
    let waits = message(cx.record(|cx| {
        let y = gemm(cx, &x, &linear)?;
        y.to_vec()?;
        Ok(y)
    }));
    assert!(waits.contains("a graph is being recorded"), "{waits}");
    // The device goes on after each.
    let own = Context::new(&device, ROOM).unwrap();
    let mut graph = own.record(|cx| gemm(cx, &x, &linear)).unwrap();
    let first = own.launch(&mut graph, 1).unwrap();
    assert_eq!(first.to_vec().unwrap().len(), 8);
    // The first output lies where the graph writes.
    let occupied = message(own.launch(&mut graph, 1));
    assert!(occupied.contains("start of the workspace"), "{occupied}");
    drop(first);
    let more = message(own.launch(&mut graph, 2));
    assert!(
        more.contains("rows of the output is 2, expected at most 1"),
        "{more}"
    );
    own.launch(&mut graph, 1).unwrap();
}

#[test]
fn a_step_that_a_bucket_cannot_hold_is_refused() {
    let device = virtual_gpu(DType::BF16);
    let cx = Context::new(&device, ROOM).unwrap();
    let kv = KvCache::new(&cx, 1, 8, 1, 32).unwrap();
    let bucket = Bucket::holding(2, 256);
    let mut tables = cx.table_memory(bucket.table_len()).unwrap();
    let mut fail = |sequences: &[Sequence<'_>], sources: &[Source]| {
        message(Batch::in_bucket(
            &cx,
            bucket,
            &mut tables,
            (&kv, 10),
            sequences,
            sources,
        ))
    };
    let token = Source::Token(3);
    let pages = [0, 1, 2, 3, 4, 5];
    let long = fail(&[sequence(&pages, 256, 1, true)], &[token]);
    assert!(long.contains("the bucket needed"), "{long}");
    let one = sequence(&pages, 2, 1, true);
    assert!(fail(&[one; 3], &[token; 3]).contains("the bucket needed"));
    assert!(fail(&[sequence(&pages, 2, 2, true)], &[token; 2]).contains("the bucket needed"));
    assert!(fail(&[sequence(&pages, 2, 1, false)], &[token]).contains("the bucket needed"));
    let page = fail(&[sequence(&[8], 2, 1, true)], &[token]);
    assert!(page.contains("page is 8, expected less than 8"), "{page}");
    let unknown = fail(&[one], &[Source::Token(10)]);
    assert!(unknown.contains("a token below 10"), "{unknown}");
    assert!(fail(&[one], &[Source::Audio(0)]).contains("a token below 10"));
    assert!(fail(&[one], &[]).contains("sources"));
}
