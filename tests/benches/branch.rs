//! How fast the simulator runs: a small branch, whole.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerdist_core::time::Duration;
use peerdist_sim::run::{RunOptions, run};
use peerdist_sim::scenario::{ContentSource, Line, Scenario, Start};

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

/// A download of 64 MiB from one peer, over a gigabit: what is simulated is printed, how long that takes is
/// measured.
fn figures(c: &mut Criterion) {
    const LARGE: u64 = 64 << 20;
    let branch = Scenario::branch();
    let gigabit = |line| Line { rate: 1_000_000_000, delay: Duration::from_micros(200), ..line };
    let (wan, lan) = (gigabit(branch.wan), gigabit(branch.lan));
    let content = ContentSource::Generated(LARGE);
    let scenario = Scenario { clients: 2, content, wan, lan, ..branch };
    let report = run(&scenario, &RunOptions::default(), &mut ()).expect("a run");
    let rate = report.rate_from_peers("client-02").expect("it takes a while");
    println!("one peer over 1 Gbit/s: {} Mbit/s of content", rate / 1_000_000);
    let mut group = c.benchmark_group("one peer over a gigabit");
    group.throughput(Throughput::Bytes(2 * LARGE)).sample_size(10);
    group.bench_function("64 MiB", |b| {
        b.iter(|| run(&scenario, &RunOptions::default(), &mut ()).expect("a run").ok());
    });
    group.finish();
}

criterion_group!(benches, branch, figures);
criterion_main!(benches);
