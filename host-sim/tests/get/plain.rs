//! Content of servers that do not speak peerdist: it goes on where it broke off, if it is still the same.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use peerdist_tests::check::content;
use peerdist_tests::origin::{DATE, Manner, Origin};
use peerdist_tests::site::Site;

#[cfg(unix)]
use super::bad::limited;
use super::place::{Place, origin};

const LEN: usize = 4_000_000;

fn plain(len: usize) -> Origin {
    let mut origin = origin(len, false);
    origin.info.clear();
    origin
}

/// Kills it when it has some more of the file: how much then.
fn kill_in_the_middle(place: &Place, url: &str, more: &[&str]) -> u64 {
    let len = || fs::metadata(place.path("file.part")).map_or(0, |there| there.len());
    let before = len();
    let mut get = place.command("cache", url, "file");
    let mut get = get.args(more).stdout(Stdio::null()).spawn().expect("it starts");
    // One that begins afresh has less at first.
    let mut least = before;
    while len() < least + 200_000 {
        least = least.min(len());
        assert!(get.try_wait().expect("it was started").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    get.kill().expect("it can be killed");
    get.wait().expect("it was started");
    assert!(!place.path("file").exists());
    len()
}

/// A file of which some is there.
fn begun(net: u8, change: impl FnOnce(&mut Origin)) -> (Place, Site, u64) {
    let place = Place::new(net);
    let mut origin = plain(LEN);
    change(&mut origin);
    let site = place.slow_site(origin, Duration::from_millis(5));
    let len = kill_in_the_middle(&place, &site.url(), &[]);
    site.origin().requests.clear();
    (place, site, len)
}

fn rest(len: u64) -> Option<(u64, u64)> {
    Some((len - 1, LEN as u64 - 1))
}

/// Gets it, of which `len` bytes were there, and the last of which is asked for again.
fn assert_goes_on(place: &Place, site: &Site, len: u64) {
    let got = place.get("cache", &site.url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == content(LEN));
    assert_eq!(site.origin().requests, [rest(len)]);
    assert_eq!((got.source("cache"), got.source("origin")), (len - 1, LEN as u64 - len + 1));
    assert!(!place.path("file.part.from").exists());
}

/// What was there is of no use: the file is what the origin has now.
fn assert_begins_afresh(place: &Place, site: &Site) {
    let got = place.get("cache", &site.url(), "file", &[]);
    got.assert_good();
    let Origin { content, requests, .. } = &*site.origin();
    assert!(place.read("file") == *content);
    assert_eq!(requests.last(), Some(&None));
    assert_eq!((got.source("cache"), got.source("origin")), (0, content.len() as u64));
    assert!(!place.path("file.part.from").exists());
}

#[test]
fn it_goes_on_however_often_it_is_killed() {
    let (place, site, mut len) = begun(23, |_| {});
    for _ in 0..4 {
        let more = kill_in_the_middle(&place, &site.url(), &[]);
        assert_eq!(site.origin().requests, [rest(len)]);
        assert!(more > len);
        site.origin().requests.clear();
        len = more;
    }
    assert_goes_on(&place, &site, len);
}

#[test]
fn it_goes_on_by_a_date() {
    let (place, site, len) = begun(24, |origin| {
        origin.etag.clear();
        origin.modified = "Sun, 06 Nov 1994 08:49:36 GMT".into();
    });
    assert_goes_on(&place, &site, len);
}

#[test]
fn all_of_it_is_there_but_its_name() {
    let (place, site, _) = begun(25, |_| {});
    fs::write(place.path("file.part"), content(LEN)).expect("it is ours");
    assert_goes_on(&place, &site, LEN as u64);
}

/// Nobody knows how long it is, and the line breaks: what came so far is not all of it.
#[test]
fn a_part_of_unknown_length_that_breaks_off() {
    let (place, site, len) = begun(39, |origin| origin.manner.chunked = true);
    site.origin().manner = Manner { closes: true, breaks: 1, ..Manner::default() };
    let got = place.get("cache", &site.url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == content(LEN));
    let requests = site.origin().requests.clone();
    assert!(requests.len() == 2 && requests[0] == rest(len), "{requests:?}");
}

#[test]
fn a_part_goes_on() {
    let place = Place::new(26);
    let site = place.slow_site(plain(LEN), Duration::from_millis(5));
    let range = &["--range", "1000000-3500000"];
    let len = kill_in_the_middle(&place, &site.url(), range);
    site.origin().requests.clear();
    place.get("cache", &site.url(), "file", range).assert_good();
    assert!(place.read("file") == content(LEN)[1_000_000..3_500_000]);
    assert_eq!(site.origin().requests, [Some((999_999 + len, 3_499_999))]);
    // Another part is none of it.
    fs::remove_file(place.path("file")).expect("it is ours");
    kill_in_the_middle(&place, &site.url(), range);
    place.get("cache", &site.url(), "file", &["--range", "1000001-3500000"]).assert_good();
    assert!(place.read("file") == content(LEN)[1_000_001..3_500_000]);
}

/// What is said of the content by which it could be known again, and is not enough for that.
#[test]
fn what_tells_nothing() {
    for (net, etag, modified) in [
        (27, "W/\"1\"", ""),
        (28, "", ""),
        // It may have changed twice in that second.
        (29, "", str::from_utf8(DATE).expect("ASCII")),
        // RFC 9110 13.1.5: not beside an entity tag.
        (30, "W/\"1\"", "Sun, 06 Nov 1994 08:49:36 GMT"),
    ] {
        let (place, site, _) =
            begun(net, |origin| (origin.etag, origin.modified) = (etag.into(), modified.into()));
        assert_begins_afresh(&place, &site);
        assert_eq!(site.origin().requests, [None]);
    }
}

#[test]
fn another_content_begins_afresh() {
    let change = |origin: &mut Origin| {
        origin.content.fill(7);
        origin.etag = "\"2\"".into();
    };
    let (place, site, _) = begun(31, |_| {});
    change(&mut site.origin());
    assert_begins_afresh(&place, &site);

    // The server gives the part of whatever it has.
    let (place, site, _) = begun(32, |origin| origin.manner.ignores_conditions = true);
    change(&mut site.origin());
    assert_begins_afresh(&place, &site);

    // It claims that it is the same, and it has become shorter.
    let (place, site, _) = begun(33, |_| {});
    site.origin().content.truncate(1_000);
    assert_begins_afresh(&place, &site);

    // It gives no parts at all.
    let (place, site, _) = begun(34, |_| {});
    site.origin().manner.ignores_ranges = true;
    assert_begins_afresh(&place, &site);
}

/// The same validator at another URL tells nothing; a signature alone makes no other.
#[test]
fn a_redirect_in_between() {
    let (place, end, _) = begun(35, |_| {});
    let mut other = plain(LEN);
    other.content.fill(7);
    let other = place.site(other);
    end.origin().moved = Some((302, other.url()));
    let got = place.get("cache", &end.url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == vec![7; LEN]);
    assert_eq!(got.source("cache"), 0);

    let place = Place::new(36);
    let end = place.slow_site(plain(LEN), Duration::from_millis(5));
    let mut first = plain(1);
    first.moved = Some((302, format!("{}?signature=1", end.url())));
    let first = place.site(first);
    let len = kill_in_the_middle(&place, &first.url(), &[]);
    end.origin().requests.clear();
    first.origin().moved = Some((302, format!("{}?signature=2", end.url())));
    let got = place.get("cache", &first.url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == content(LEN));
    assert_eq!((got.source("cache"), &*end.origin().requests), (len - 1, &[rest(len)][..]));
}

/// What is there stays there when the origin is gone for a while.
#[test]
fn an_origin_that_is_gone_for_a_while() {
    let (place, site, len) = begun(37, |_| {});
    site.origin().manner.status = Some(403);
    let got = place.get("cache", &site.url(), "file", &[]);
    assert_eq!(got.code, 1);
    assert!(got.errors.contains("403"), "{}", got.errors);
    site.origin().manner.status = None;
    site.origin().requests.clear();
    assert_goes_on(&place, &site, len);
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_meanwhile() {
    let place = Place::new(38);
    let site = place.site(plain(LEN));
    let got = limited(&place, &site.url(), 1_000);
    assert_eq!((got.code, got.errors.lines().count()), (2, 1), "{}", got.errors);
    assert!(got.errors.contains("file.part, byte ") && got.errors.contains(&site.url()), "{}", got.errors);
    assert!(!place.path("file").exists());
    site.origin().requests.clear();
    assert_goes_on(&place, &site, 1_000 * 1_024);
}
