//! Every case of every operation on the host: `cargo bench -p gamut-benches -- gemm`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gamut_kernels::{Case, Context, Device, Host, Result, registry};
use std::sync::Arc;

fn operations(criterion: &mut Criterion) {
    let host = Device::Host(Arc::new(Host::new(0).expect("threads of the host")));
    for op in registry() {
        let mut group = criterion.benchmark_group(op.name);
        for case in (op.cases)() {
            let (cx, bytes) = context(&host, &case).expect("a valid case");
            let mut trial = case.prepare(&cx).expect("room for the inputs");
            group.throughput(Throughput::Bytes(bytes));
            group.bench_function(&case.name, |bencher| {
                bencher.iter(|| trial.run(&cx).expect("the planned workspace"));
            });
        }
        group.finish();
    }
}

/// A context of the size that the case needs, and the fewest bytes that it moves.
fn context(host: &Device, case: &Case) -> Result<(Context, u64)> {
    let (workspace, work) = case.measure(host.target())?;
    Ok((Context::new(host, workspace)?, work.bytes))
}

criterion_group!(benches, operations);
criterion_main!(benches);
