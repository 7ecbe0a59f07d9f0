//! Crowds that begin together: how often the content crosses the WAN, and how long the simulator takes for it.
//! A single run each, since the last takes a minute.

use std::time::Instant;

use peerdist_sim::run::{RunOptions, run};
use peerdist_sim::scenario::{ContentSource, Scenario, Start};

fn main() {
    // `cargo test` runs benches too, to see that they work.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for clients in [20, 60, 200] {
        let content = ContentSource::Generated(20 << 20);
        let crowd = Scenario { clients, content, start: Start::Together, ..Scenario::branch() };
        let begun = Instant::now();
        let report = run(&crowd, &RunOptions::default(), &mut ()).expect("a run");
        assert!(report.ok());
        let factor = report.wan.bytes as f64 / report.content.bytes as f64;
        let seconds = begun.elapsed().as_secs_f32();
        println!("{clients} clients together: {factor:.2} x the content over the WAN, {seconds:.1} s");
    }
}
