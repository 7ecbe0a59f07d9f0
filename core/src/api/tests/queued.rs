//! Reads that wait until the engine has a row for them.

use super::client::*;
use super::peers::Link;
use super::*;
use crate::node::APPLICATION_READS;
use crate::time::Duration;

/// Reads beyond those that the engine takes wait, and their time passes meanwhile.
#[test]
fn reads_that_wait_for_a_row_run_out_of_time() {
    let bytes = random(100_000);
    let mut link = Link::new(Duration::from_millis(1));
    let content = link.open(0, &bytes, Version::V1);
    let now = link.now;
    let reads: Vec<_> = (0..100)
        .map(|_| link.nodes[0].api().block_read(now, content, 0, 10, Patience::from_millis(20)).unwrap())
        .collect();
    for _ in &reads {
        let (completion, took) = link.until_end(0);
        assert_eq!(completion.code(), Code::Timeout);
        assert!(took <= Duration::from_millis(20));
    }
    assert!(link.now.since(now) <= Duration::from_millis(21));
}

/// Node 0 with a content of which the first block is there, and as many reads of it as there are rows.
fn full(link: &mut Link, bytes: &[u8]) -> (ContentHandle, Vec<OperationId>) {
    let content = link.open(0, bytes, Version::V1);
    add_data(&mut link.nodes[0], content, 0, &bytes[..65_536]);
    let read = |_| link.nodes[0].api().block_read(link.now, content, 0, 10, LOCAL).unwrap();
    let reads: Vec<_> = (0..APPLICATION_READS).map(read).collect();
    reads.iter().for_each(|_| assert_eq!(link.until_end(0).0.outcome, Outcome::Data { offset: 0, len: 10 }));
    (content, reads)
}

/// Who does not give up what was read has no row for more.
#[test]
fn time_runs_out_where_no_row_gets_free() {
    let bytes = random(150_000);
    let mut link = Link::new(Duration::from_millis(1));
    let (content, reads) = full(&mut link, &bytes);
    let (now, patience) = (link.now, Patience::from_millis(30));
    let api = &mut link.nodes[0].api();
    let late = api.block_read(now, content, 70_000, 10, patience).unwrap();
    let later = api.block_read(now, content, 7, 10, Patience::from_millis(40)).unwrap();
    let beyond = api.block_read(now, content, 150_000, 10, Patience::from_millis(50)).unwrap();
    let local = api.block_read(now, content, 7, 10, LOCAL).unwrap();
    let endless = api.block_read(now, content, 140_000, 10, Patience::Endless).unwrap();
    for (read, millis, outcome) in [
        (late, 30, Outcome::TimedOut { offset: 70_000, len: 61_072 }),
        // It is there, and nobody can look.
        (later, 40, Outcome::TimedOut { offset: 7, len: 65_529 }),
        (beyond, 50, Outcome::Failed(ApiError::NoMore)),
    ] {
        let (completion, _) = link.until_end(0);
        assert_eq!((completion.operation, completion.outcome), (read, outcome));
        assert_eq!(link.now.since(now), Duration::from_millis(millis));
    }
    // The others have no time that could run out.
    link.now += Duration::from_secs(1_000);
    link.settle();
    assert!(link.nodes[0].api().is_pending(local));
    link.nodes[0].api().end_read(reads[0]);
    let (completion, _) = link.until_end(0);
    assert_eq!((completion.operation, completion.outcome), (local, Outcome::Data { offset: 7, len: 10 }));
    link.nodes[0].api().end_read(local);
    let (completion, _) = link.until_end(0);
    assert_eq!((completion.operation, completion.code()), (endless, Code::MissingData));
}

/// The holes follow each other as if they had been looked for.
#[test]
fn stream_reads_without_a_row_run_out_of_time_in_order() {
    let bytes = random(150_000);
    let mut link = Link::new(Duration::from_millis(1));
    let (content, reads) = full(&mut link, &bytes);
    let now = link.now;
    let api = &mut link.nodes[0].api();
    let patience = |millis| Patience::from_millis(millis);
    let first = api.stream_read(now, content, 10, patience(40)).unwrap();
    // Its turn comes after the one before.
    let second = api.stream_read(now, content, 10, patience(20)).unwrap();
    let third = api.stream_read(now, content, 10, patience(60)).unwrap();
    for (read, millis, offset, len) in
        [(first, 40, 0, 65_536), (second, 40, 65_536, 65_536), (third, 60, 131_072, 18_928)]
    {
        let (completion, _) = link.until_end(0);
        let outcome = Outcome::TimedOut { offset, len };
        assert_eq!((completion.operation, completion.outcome), (read, outcome));
        assert_eq!(link.now.since(now), Duration::from_millis(millis));
    }
    link.nodes[0].api().end_read(reads[0]);
    link.nodes[0].api().stream_read(link.now, content, 10, LOCAL).unwrap();
    assert_eq!(link.until_end(0).0.code(), Code::NoMore);
}

/// However many there are.
#[test]
fn reads_that_wait_are_looked_at_a_few_times_in_each_pass() {
    let bytes = random(150_000);
    let mut link = Link::new(Duration::from_millis(1));
    let (content, _) = full(&mut link, &bytes);
    let rows = 128;
    for _ in 0..rows - APPLICATION_READS {
        link.nodes[0].api().stream_read(link.now, content, 10, Patience::from_millis(30)).unwrap();
    }
    link.settle();
    let before = LOOKS.with(core::cell::Cell::get);
    link.nodes[0].poll_output(link.now, &mut [0; 1_400]);
    let looks = LOOKS.with(core::cell::Cell::get) - before;
    assert!(looks <= 16 * rows, "{looks} looks at {rows} rows");
}

/// What of no bytes is asked for tells what is in the store, whatever its time: nobody need be asked.
#[test]
fn a_question_of_no_bytes_has_all_the_time() {
    let bytes = random(150_000);
    let mut link = Link::new(Duration::from_millis(1));
    let (content, reads) = full(&mut link, &bytes);
    let question =
        link.nodes[0].api().block_read(link.now, content, 7, 0, Patience::from_millis(30)).unwrap();
    link.now += Duration::from_millis(40);
    link.settle();
    assert!(link.nodes[0].api().poll_operation().is_none());
    link.nodes[0].api().end_read(reads[0]);
    let (completion, _) = link.until_end(0);
    assert_eq!(
        (completion.operation, completion.outcome),
        (question, Outcome::Stored { offset: 7, len: 65_529 })
    );
}
