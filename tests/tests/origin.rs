//! Origins that misbehave, and what a download makes of them.

use peerdist_core::content::InfoFault;
use peerdist_core::download::origin::OriginFailure;
use peerdist_core::download::{DownloadError, DownloadEvent};
use peerdist_core::store::Store as _;
use peerdist_core::time::Duration;
use peerdist_tests::check::{LONG, assert_whole, content, failed, segments, verify_store};
use peerdist_tests::origin::{Manner, Origin, publish};
use peerdist_tests::pair::Net;

/// Downloads `len` bytes from an origin of such manners; the world afterwards, and the seconds
/// that it took.
fn download(len: usize, manner: Manner) -> (Net, u64) {
    let mut net = Net::new(7, 1, 8, content(len));
    net.origin.manner = manner;
    let begun = net.now;
    let download = net.download(0);
    net.drive_download(0, download, LONG);
    let seconds = net.now.since(begun).millis() / 1_000;
    (net, seconds)
}

#[test]
fn framings() {
    for (chunked, closes) in [(true, false), (false, true)] {
        let manner = Manner { chunked, closes, ..Manner::default() };
        let (net, seconds) = download(200_000, manner);
        assert_whole(net.seen(0, 1), &net.origin.content, true);
        assert!(seconds < 2, "{seconds}");
    }
}

#[test]
fn content_that_changes_hands_plainly() {
    for len in [0, 1, 100_000] {
        for (chunked, closes) in [(false, false), (true, false), (false, true)] {
            let mut net = Net::new(7, 1, 8, content(len));
            net.origin.info.clear();
            net.origin.manner = Manner { chunked, closes, ..Manner::default() };
            let begun = net.now;
            let id = net.download(0);
            net.drive_download(0, id, LONG);
            assert_whole(net.seen(0, id), &net.origin.content, false);
            assert!(net.now.since(begun) < Duration::from_secs(1), "{len} {chunked} {closes}");
        }
    }
}

#[test]
fn passing_errors_are_tried_again() {
    let (net, _) = download(200_000, Manner { errors: 3, ..Manner::default() });
    assert_whole(net.seen(0, 1), &net.origin.content, true);
    let (net, _) = download(200_000, Manner { breaks: 3, ..Manner::default() });
    let seen = net.seen(0, 1);
    assert!(matches!(seen.events.last(), Some((_, DownloadEvent::Done { len: 200_000 }))));
    assert!(seen.data == net.origin.content && seen.times.iter().all(|times| *times == 1));
    let (net, _) = download(200_000, Manner { wrong: 2, ..Manner::default() });
    assert_whole(net.seen(0, 1), &net.origin.content, true);
}

#[test]
fn final_errors_end_it() {
    for (manner, error) in [
        (Manner { status: Some(404), ..Manner::default() }, OriginFailure::Status(404)),
        (Manner { status: Some(503), ..Manner::default() }, OriginFailure::Status(503)),
        (Manner { refuses: true, ..Manner::default() }, OriginFailure::Unreachable),
    ] {
        let (mut net, _) = download(200_000, manner);
        assert_eq!(failed(net.seen(0, 1)), Some(DownloadError::Origin(error)));
        assert!(net.seen(0, 1).data.is_empty());
        assert!(net.origin.requests.len() <= 8);
        net.drive(LONG);
        assert_eq!(net.open_connections(), 0);
    }
}

#[test]
fn a_plain_reply_that_breaks_off_fails() {
    let mut net = Net::new(7, 1, 8, content(100_000));
    net.origin.info.clear();
    net.origin.etag.clear();
    net.origin.manner.breaks = 1;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Origin(OriginFailure::Broken)));
    let seen = net.seen(0, id);
    assert!(seen.data == net.origin.content[..seen.data.len()]);
}

/// It goes on where it broke off, since it is told that the content is still the same.
#[test]
fn a_plain_reply_that_breaks_off_goes_on() {
    let mut net = Net::new(7, 1, 8, content(100_000));
    net.origin.info.clear();
    net.origin.manner.breaks = 1;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &net.origin.content, false);
    let requests = &net.origin.requests;
    assert!(matches!(requests[..], [None, Some((1..=50_000, 99_999))]), "{requests:?}");
}

/// A body without a length ends where the line breaks, too; what a part says of its range tells that it is not all.
#[test]
fn a_part_of_unknown_length_that_breaks_off_goes_on() {
    let mut net = Net::new(7, 1, 8, content(100_000));
    net.origin.info.clear();
    net.origin.manner = Manner { chunked: true, breaks: 1, ..Manner::default() };
    let id = net.download(0);
    net.drive_until(LONG, |net| !net.origin.requests.is_empty());
    net.origin.manner = Manner { closes: true, breaks: 2, ..Manner::default() };
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &net.origin.content, false);
    let requests = &net.origin.requests;
    let starts = requests.iter().flatten().map(|(start, _)| *start).collect::<Vec<_>>();
    assert!(starts.len() == 3 && starts.is_sorted() && starts[0] > 0, "{requests:?}");
}

/// It gives a little and breaks off, each time: what nobody got is no progress.
#[test]
fn a_part_that_never_comes_whole() {
    let mut net = Net::new(7, 1, 8, content(70_000));
    net.origin.info.clear();
    net.origin.manner = Manner { closes: true, breaks: u32::MAX, ..Manner::default() };
    let id = net.download_range(0, 69_000..70_000);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Origin(OriginFailure::Broken)));
    assert!(net.origin.requests.len() <= 9, "{:?}", net.origin.requests);
}

#[test]
fn an_origin_that_ignores_ranges() {
    let (net, seconds) = download(200_000, Manner { ignores_ranges: true, ..Manner::default() });
    assert_whole(net.seen(0, 1), &net.origin.content, true);
    assert!(seconds < 2, "{seconds}");
}

/// The download ends instead of waiting for ever.
#[test]
fn a_url_that_no_request_can_carry() {
    let mut net = Net::new(7, 1, 8, content(10));
    net.path = "/a b";
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Origin(OriginFailure::Url)));
}

#[test]
fn changed_content() {
    let mut net = Net::new(7, 1, 8, content(200_000));
    net.origin.content[70_000] ^= 1;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Changed { offset: 65_536 }));
    let seen = net.seen(0, id);
    assert!(seen.times.iter().all(|times| *times <= 1));
    assert!(
        seen.data.iter().zip(&seen.times).zip(&content(200_000)).all(|((a, times), b)| *times == 0 || a == b)
    );
    let info = net.origin.info.clone();
    verify_store(&mut net, 0, &info);
}

#[test]
fn hostile_content_information() {
    let info = publish(&content(200_000));
    type Change = fn(&mut Vec<u8>);
    let hostile: [(&str, Change); 6] = [
        ("no version", |info| info[1] = 9),
        ("cut", |info| info.truncate(100)),
        ("trailing", |info| info.push(0)),
        ("empty", |info| info.truncate(1)),
        ("segments", |info| info[14..18].fill(0xff)),
        ("block hash", |info| *info.last_mut().unwrap() ^= 1),
    ];
    for (what, change) in hostile {
        let mut net = Net::new(7, 1, 8, content(200_000));
        net.origin.info = info.clone();
        change(&mut net.origin.info);
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        let error = failed(net.seen(0, id));
        let Some(DownloadError::Info(error)) = error else { panic!("{what}: {error:?}") };
        assert_eq!(error.reason == InfoFault::HashMismatch, what == "block hash", "{what}");
        assert_eq!(net.origin.body_bytes, 0);
        net.drive(LONG);
        assert_eq!(net.open_connections(), 0);
    }
}

/// The next download may be of another origin: nothing of a cancelled one may reach it.
#[test]
fn a_cancelled_download_does_not_speak_to_the_next() {
    for steps in 0..60 {
        let mut net = Net::new(7, 1, 8, content(200_000));
        let old = net.download(0);
        for _ in 0..steps {
            net.step();
        }
        if net.seen(0, old).is_over() {
            break;
        }
        net.cancel_download(0, old);
        net.origin = Origin::new(content(100_000));
        let next = net.download(0);
        net.drive_download(0, next, LONG);
        assert_whole(net.seen(0, next), &net.origin.content, true);
    }
}

/// An origin that falls silent is left after a minute, and its connection is reset.
#[test]
fn a_silent_origin_is_left() {
    let mut net = Net::new(7, 1, 8, content(200_000));
    net.origin.manner.silent = true;
    let id = net.download(0);
    net.drive_until(LONG, |net| !net.origin.requests.is_empty());
    net.drive_until(LONG, |net| net.open_connections() == 0);
    net.origin.manner.silent = false;
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &net.origin.content, true);
}

/// Whoever has a segment's HoD and Kp may not put own blocks under its name: what matches a list of block
/// hashes that cannot be checked against HoD is kept apart.
#[test]
fn a_partial_list_of_hashes_is_not_believed() {
    let honest = content(3 * 65_536);
    let mut net = Net::new(7, 1, 8, honest.clone());
    let mut info = net.origin.info.clone();
    // The range ends with the first block, whose hash is that of the attacker's own.
    let forged = vec![0x66; 65_536];
    let hash = publish(&forged)[102..134].to_vec();
    info[10..14].copy_from_slice(&65_536u32.to_le_bytes());
    info[98..102].copy_from_slice(&1u32.to_le_bytes());
    info.truncate(102);
    info.extend(hash);
    net.origin.info = info;
    net.origin.content = forged;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    // It is what this origin has, after all.
    assert_whole(net.seen(0, id), &net.origin.content, true);
    net.origin = Origin::new(honest.clone());
    let segment = segments(&net.origin.info)[0];
    assert_eq!(net.node(0).storage().blocks(&segment), 0);

    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &honest, true);
}

/// A file that shrank after its content information was made: the download ends, and does not ask
/// for what is gone for ever.
#[test]
fn a_content_that_shrinks() {
    let mut net = Net::new(7, 1, 8, content(200_000));
    net.origin.content.truncate(150_000);
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Origin(OriginFailure::BadReply)));
    assert!(net.origin.requests.len() < 30, "{} requests", net.origin.requests.len());
}

/// Content information that describes other bytes than its own header line announces.
#[test]
fn an_announced_length_that_is_not_the_described_one() {
    let mut net = Net::new(7, 1, 8, content(200_000));
    net.origin.info = publish(&content(199_999));
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Origin(OriginFailure::BadReply)));
}

/// Nothing is handed out behind the news that a plain download failed.
#[test]
fn no_data_after_failure() {
    let mut net = Net::new(7, 1, 8, content(100_000));
    net.origin.info.clear();
    net.origin.etag.clear();
    net.origin.manner = Manner { breaks: 1, ..Manner::default() };
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert!(matches!(failed(net.seen(0, id)), Some(DownloadError::Origin(_))));
    let got = net.seen(0, id).data.len();
    net.drive(LONG);
    assert_eq!(net.seen(0, id).data.len(), got);
}

/// HoD binds a segment's block hashes, and not the length of its last block: content information
/// that says another length than the stored block has ends the download.
#[test]
fn a_length_that_contradicts_the_stored_block() {
    let honest = content(65_536 + 1_000);
    let mut net = Net::new(7, 1, 8, honest.clone());
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &honest, true);
    for len in [65_536 + 2_000u32, 65_536 + 500] {
        // Same hashes and secret, another length; the origin's bytes no longer matter.
        net.origin.info = publish(&honest);
        net.origin.info[26..30].copy_from_slice(&len.to_le_bytes());
        net.origin.content = content(len as usize);
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Changed { offset: 65_536 }));
    }
}
