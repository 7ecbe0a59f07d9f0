//! How fast the simulator runs: a small branch, whole.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerdist_sim::run::{RunOptions, run};
use peerdist_sim::scenario::{ContentSource, Scenario, Start};

const CONTENT: u64 = 1 << 20;

fn branch(c: &mut Criterion) {
    let mut group = c.benchmark_group("a branch of five clients");
    group.throughput(Throughput::Bytes(5 * CONTENT)).sample_size(20);
    for start in [Start::Staggered, Start::Together] {
        let content = ContentSource::Generated(CONTENT);
        let name = format!("{start:?}");
        let scenario = Scenario { clients: 5, content, start, ..Scenario::branch() };
        group.bench_function(name, |b| {
            b.iter(|| {
                let report = run(&scenario, &RunOptions::default(), &mut ()).expect("a run");
                assert!(report.ok());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, branch);
criterion_main!(benches);
