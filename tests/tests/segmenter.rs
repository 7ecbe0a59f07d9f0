//! Content-defined segments of two versions of a content: how many a change of one byte renames.

use std::collections::HashSet;
use std::{mem, slice};

use peerdist_core::content::segmenter::{Segmentation, Segmenter};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const CONTENT_BYTES: usize = 16 << 20;

/// Edits of each kind.
const EDITS: u64 = 1_000;

/// Most edits change no more segments than this.
const FEW: usize = 3;

/// After this many segments the versions are in step again, whatever was edited.
const RESYNCHRONISED: usize = 16;

#[derive(Debug)]
enum Edit {
    Replace(u8),
    Insert(u8),
    Delete,
}

#[test]
fn one_byte_of_random_content_changes_few_segments() {
    let mut content = vec![0; CONTENT_BYTES];
    ChaCha20Rng::seed_from_u64(1).fill_bytes(&mut content);
    edit_often(&content, 2);
}

#[test]
fn one_byte_of_text_changes_few_segments() {
    let rng = &mut ChaCha20Rng::seed_from_u64(3);
    let words: Vec<Vec<u8>> = (0..1_000).map(|_| word(rng)).collect();
    let mut content = Vec::new();
    while content.len() < CONTENT_BYTES {
        content.extend_from_slice(&words[below(rng, words.len())]);
    }
    edit_often(&content, 4);
}

/// 2 to 9 letters and a space.
fn word(rng: &mut ChaCha20Rng) -> Vec<u8> {
    let letters = 2 + below(rng, 8);
    (0..letters).map(|_| b'a' + below(rng, 26) as u8).chain([b' ']).collect()
}

fn edit_often(content: &[u8], seed: u64) {
    let cuts = ends([content, &[], &[]], |_| false);
    let rng = &mut ChaCha20Rng::seed_from_u64(seed);
    let (mut edits, mut few) = (0, 0);
    for round in 0..EDITS {
        for kind in 0..3 {
            let at = below(rng, content.len());
            let edit = match kind {
                0 => Edit::Replace(content[at] ^ (1 + below(rng, 255) as u8)),
                1 => Edit::Insert(below(rng, 256) as u8),
                _ => Edit::Delete,
            };
            let changed = changed_segments(content, &cuts, at, &edit);
            assert!(changed <= RESYNCHRONISED, "{edit:?} at {at}: {changed} segments");
            if round == 0 {
                assert_eq!(changed, changed_segments_in_full(content, &cuts, at, &edit), "{edit:?} at {at}");
            }
            edits += 1;
            few += usize::from(changed <= FEW);
        }
    }
    assert!(few * 100 >= edits * 99, "{few} of {edits}");
}

/// How many segments of the edited content are not the unedited content's.
///
/// A cut leaves nothing behind that the next one depends on. So the versions have the same
/// segments up to the last cut before the edit, and again from the first cut behind it that both
/// have, and only those between need to be cut. `changed_segments_in_full` shows with some edits
/// that this is so.
fn changed_segments(content: &[u8], cuts: &[usize], at: usize, edit: &Edit) -> usize {
    let before = cuts.partition_point(|&cut| cut <= at);
    let start = before.checked_sub(1).map_or(0, |last| cuts[last]);
    let in_step = |cut| {
        let cut = unedited(start + cut, edit);
        cut > at && cuts.binary_search(&cut).is_ok()
    };
    ends(edited(&content[start..], at - start, edit), in_step).len()
}

/// The same, by cutting all of the edited content and comparing bytes.
fn changed_segments_in_full(content: &[u8], cuts: &[usize], at: usize, edit: &Edit) -> usize {
    let edited = edited(content, at, edit);
    let old: HashSet<&[u8]> = segments(content, cuts).collect();
    segments(&edited.concat(), &ends(edited, |_| false)).filter(|segment| !old.contains(segment)).count()
}

/// What stands before the edit, what it puts there, and what stands behind it.
fn edited<'a>(content: &'a [u8], at: usize, edit: &'a Edit) -> [&'a [u8]; 3] {
    let (put, behind) = match edit {
        Edit::Replace(byte) => (slice::from_ref(byte), at + 1),
        Edit::Insert(byte) => (slice::from_ref(byte), at),
        Edit::Delete => (&[][..], at + 1),
    };
    [&content[..at], put, &content[behind..]]
}

/// Where in the unedited content stands what stands at `place`, behind the edit, in the edited one.
fn unedited(place: usize, edit: &Edit) -> usize {
    match edit {
        Edit::Replace(_) => place,
        Edit::Insert(_) => place - 1,
        Edit::Delete => place + 1,
    }
}

fn segments<'a>(content: &'a [u8], ends: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    ends.iter().scan(0, |start, &end| Some(&content[mem::replace(start, end)..end]))
}

/// Where the segments of a content end, up to the first end that `is_last`.
fn ends(pieces: [&[u8]; 3], is_last: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut segmenter = Segmenter::new(Segmentation::ContentDefined);
    let mut ends = Vec::new();
    let mut at = 0;
    for mut rest in pieces {
        while let Some(n) = segmenter.push(rest) {
            at += n;
            rest = &rest[n..];
            ends.push(at);
            if is_last(at) {
                return ends;
            }
        }
        at += rest.len();
    }
    if !segmenter.is_empty() {
        ends.push(at);
    }
    ends
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    rng.next_u64() as usize % bound
}
