use std::collections::HashMap;
use std::vec;

use peerdist_core::bytes::Writer;
use peerdist_core::retrieval::server::{Exchange, Role};
use peerdist_core::retrieval::wire::{CryptoAlgoId, GetSegmentList, Reply};
use peerdist_core::store::{BlockId, Label, Store};
use peerdist_core::time::Instant;

use super::*;
use crate::file::{FileBlocks, Options};

fn block(segment: &[u8], index: u32) -> Block {
    let id = BlockId { segment: SegmentId::from_stored(segment).unwrap(), index };
    let place = Place { pack: 3, entry: index as u8 & 127, start: 16 };
    Block { id, algorithm: CipherAlgorithm::Aes192, len: 48, plain_len: 40, created: 7, place }
}

fn publish(index: &mut Index, block: &Block) -> SlotId {
    let slot = index.insert(block);
    index.publish(slot.index, block);
    slot
}

/// The segment of that number, in each of the forms that names have.
fn segment(number: u32) -> SegmentId {
    let mut bytes = [0x5a; 64];
    bytes[..4].copy_from_slice(&(number / 4).to_le_bytes());
    let len = [32, 33, 48, 64][number as usize % 4];
    if len == 33 {
        bytes[32] = 0;
    }
    SegmentId::from_stored(&bytes[..len]).unwrap()
}

#[test]
fn names_that_begin_alike() {
    let mut index = Index::default();
    let [mut a, mut b, c, mut d] = [[5; 32].to_vec(), [5; 32].to_vec(), [5; 48].to_vec(), [5; 33].to_vec()];
    (a[31], b[31], d[32]) = (1, 2, 0);
    let blocks = [block(&a, 3), block(&b, 3), block(&c, 3), block(&c, 4), block(&d, 3), block(&[5; 32], 3)];
    let slots = blocks.map(|block| index.insert(&block));
    assert!(blocks.iter().all(|block| index.find(&block.id).is_none()));
    for (slot, block) in slots.iter().zip(&blocks) {
        index.publish(slot.index, block);
    }
    for (slot, block) in slots.iter().zip(&blocks) {
        assert_eq!(index.find(&block.id), Some(slot.index));
        let found = index.at(*slot).unwrap();
        assert_eq!(
            (found.id, found.algorithm, found.plain_len, found.len),
            (block.id, block.algorithm, 40, 48)
        );
    }
    let of_c = index.of_segment(&blocks[2].id.segment, 0..=u32::MAX);
    assert_eq!(of_c.map(|(row, _)| row).collect::<Vec<_>>(), [2, 3]);
    assert!(index.remove(1).is_some_and(|(_, committed)| committed));
    assert_eq!((index.find(&blocks[1].id), index.at(slots[1]).is_none()), (None, true));
    assert_eq!((index.find(&blocks[0].id), index.len()), (Some(0), 5));
    // The row is given again, under another generation.
    assert_ne!(index.insert(&blocks[1]), slots[1]);
}

#[test]
fn the_chain_by_use() {
    let mut index = Index::default();
    let order = |index: &Index| index.by_use().collect::<Vec<_>>();
    for number in 0..4 {
        publish(&mut index, &block(&[1; 32], number));
    }
    assert_eq!(order(&index), [0, 1, 2, 3]);
    for (touched, after) in [(0, [1, 2, 3, 0]), (0, [1, 2, 3, 0]), (2, [1, 3, 0, 2])] {
        index.touch(touched);
        assert_eq!(order(&index), after);
    }
    for (removed, after) in [(3, &[1, 0, 2][..]), (1, &[0, 2]), (2, &[0]), (0, &[])] {
        index.remove(removed);
        assert_eq!(order(&index), after);
    }
    assert_eq!(index.take_old(usize::MAX, |_| true), []);
}

/// The oldest of several pages, some of which hold one that is pinned, or was.
#[test]
fn ages_over_the_border_of_a_page() {
    let mut index = Index::default();
    let count = 2 * PAGE_ROWS as u32 + 1;
    let slots: Vec<_> = (0..count)
        .map(|number| publish(&mut index, &Block { created: 1_000 - number, ..block(&[2; 32], number) }))
        .collect();
    index.pin(slots[count as usize - 1], true);
    index.pin(slots[count as usize - 2], true);
    let old = |index: &mut Index, at_most, than| {
        let mut rows = index.take_old(at_most, |created| created <= than);
        assert!(rows.iter().all(|&row| index.remove(row).is_some()));
        rows.sort_unstable();
        rows
    };
    let created = |row: u32| 1_000 - row;
    assert_eq!(old(&mut index, 9, created(count - 2)), []);
    assert_eq!(old(&mut index, 9, created(count - 4)), [count - 4, count - 3]);
    index.pin(slots[count as usize - 1], false);
    assert_eq!(old(&mut index, 0, created(0)), []);
    assert_eq!(old(&mut index, 1, created(count - 1)), [count - 1]);
    // More than go at once, of two pages; one that comes later and is older.
    let [first, border] = [PAGE_ROWS as u32 - 2, PAGE_ROWS as u32];
    let mut gone = Vec::new();
    while let rows = old(&mut index, 100, created(first))
        && !rows.is_empty()
    {
        gone.extend(rows);
    }
    gone.sort_unstable();
    assert_eq!(gone, (first..count - 4).collect::<Vec<_>>());
    assert!(gone.contains(&(border - 1)) && gone.contains(&border));
    let late = publish(&mut index, &Block { created: 3, ..block(&[3; 32], 0) });
    assert_eq!(old(&mut index, 9, 3), [late.index]);
    assert_eq!(old(&mut index, usize::MAX, u32::MAX).len() as u32, first);
    index.pin(slots[count as usize - 2], false);
    assert_eq!((old(&mut index, 9, u32::MAX).len(), index.len()), (1, 0));
}

/// A long and random life beside an index that is nothing but a list.
#[test]
fn as_a_simple_index() {
    let mut index = Index::default();
    let mut model: HashMap<Named, SlotId> = HashMap::new();
    // By use, least recently used first.
    let mut order: Vec<Named> = Vec::new();
    let mut random = 7u32;
    let mut draw = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    let mut stale = Vec::new();
    for step in 0..60_000 {
        // Grows and shrinks by turns, over borders of pages.
        let grows = step / 10_000 % 2 == 0;
        let number = draw(400);
        let name = (number, if draw(3) == 0 { 505 + draw(10) } else { draw(4) });
        let id = BlockId { segment: segment(name.0), index: name.1 };
        assert_eq!(index.find(&id), model.get(&name).map(|slot| slot.index));
        match model.get(&name).copied() {
            None if grows || draw(4) == 0 => {
                let block = Block { id, ..block(&[0; 32], 0) };
                model.insert(name, publish(&mut index, &block));
                order.push(name);
            }
            Some(slot) if draw(4) == 0 => {
                index.touch(slot.index);
                order.retain(|other| *other != name);
                order.push(name);
            }
            Some(slot) if !grows || draw(4) == 0 => {
                assert_eq!(index.remove(slot.index).map(|(block, _)| block.id), Some(id));
                model.remove(&name);
                order.retain(|other| *other != name);
                stale.push(slot);
            }
            _ => {}
        }
        let start = draw(600);
        let found: Vec<u32> = index.of_segment(&id.segment, start..=600).map(|(row, _)| row).collect();
        let mut expected: Vec<_> =
            model.iter().filter(|((segment, at), _)| *segment == number && *at >= start).collect();
        expected.sort_unstable_by_key(|(name, _)| name.1);
        assert_eq!(found, expected.into_iter().map(|(_, slot)| slot.index).collect::<Vec<_>>());
        if step % 1_000 == 0 {
            assert_eq!(index.len(), model.len());
            assert!(index.by_use().eq(order.iter().map(|name| model[name].index)));
            assert!(stale.iter().all(|slot| index.at(*slot).is_none()));
            let mut rows: Vec<_> = model.values().map(|slot| slot.index).collect();
            rows.sort_unstable();
            assert!(index.committed().eq(rows));
        }
    }
    for slot in model.into_values() {
        index.remove(slot.index);
    }
    assert!(index.families.is_empty() && index.long.is_empty() && index.len() == 0);
    assert_eq!((index.oldest, index.newest), (NONE, NONE));
    // Rows are used again before there are new ones.
    let rows = index.rows;
    for number in 0..rows {
        publish(&mut index, &block(&[9; 32], number));
    }
    assert_eq!(index.rows, rows);
}

/// A segment and an index within it, by numbers.
type Named = (u32, u32);

#[test]
fn pins_are_counted_and_go_with_their_block() {
    let mut index = Index::default();
    let slot = publish(&mut index, &block(&[1; 32], 0));
    for more in [true, true, false] {
        index.pin(slot, more);
    }
    assert!(index.is_pinned(slot.index));
    index.pin(slot, false);
    index.pin(slot, false);
    assert!(!index.is_pinned(slot.index));
    index.pin(slot, true);
    index.remove(slot.index);
    let next = publish(&mut index, &block(&[1; 32], 0));
    index.pin(slot, true);
    assert!(next.index == slot.index && !index.is_pinned(next.index));
    // Pinned before it is committed.
    let reserved = index.insert(&block(&[1; 32], 1));
    index.pin(reserved, true);
    index.publish(reserved.index, &block(&[1; 32], 1));
    assert!(index.is_pinned(reserved.index));
    assert_eq!(index.take_old(9, |_| true), [next.index]);
}

#[test]
fn marks_go_with_their_block() {
    let mut index = Index::default();
    let slot = publish(&mut index, &block(&[1; 32], 0));
    let label = Label::new(0).unwrap();
    index.set_unreadable(slot.index);
    index.label(slot, label);
    assert!(index.is_unreadable(slot.index) && index.is_labelled(label));
    index.touch(slot.index);
    assert!(index.is_unreadable(slot.index));
    index.remove(slot.index);
    assert!(!index.is_labelled(label));
    let next = publish(&mut index, &block(&[1; 32], 0));
    assert!(next.index == slot.index && !index.is_unreadable(next.index));
    assert_eq!(index.unlabel(label), vec![0u32; 0]);
}

/// However many segments there are, and whether those that are asked for are among them: so few rows are looked at, for
/// each block, and for MSG_GETSEGLIST.
#[test]
fn nothing_is_searched_through() {
    const ASKED: u32 = 128;
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileBlocks::open(directory.path(), Options::new(1 << 20), 0).unwrap();
    // As clients offer them that tell no keys.
    let name = |number: u32| segment(number * 4 + 1);
    let mut there = 0;
    for count in [1_000, 30_000, 300_000] {
        for number in there..count {
            let id = BlockId { segment: name(number), index: 0 };
            publish(&mut store.index, &Block { id, created: 0, ..block(&[0; 32], 0) });
        }
        there = count;
        for (from, here) in [(0, true), (count / 2, true), (count - ASKED, true), (count, false)] {
            let asked = from..from + ASKED;
            let looked_at = || store.index.looked_at.replace(0);
            looked_at();
            assert!(
                asked.clone().all(|number| store.has(&BlockId { segment: name(number), index: 0 }) == here)
            );
            // The row itself, to compare it and to say what it has; and one in some hundred in vain.
            let (found, vain) = (if here { ASKED as usize } else { 0 }, ASKED as usize / 4);
            let rows = looked_at();
            assert!(rows <= 3 * found + vain, "{rows} of {count}");

            let ids: Vec<_> = asked.map(|number| name(number).as_bytes()[..32].to_vec()).collect();
            let mut request = [0; 8_192];
            let mut writer = Writer::new(&mut request);
            let ids = ids.iter().map(Vec::as_slice);
            GetSegmentList::emit_for(&[7; 16], CryptoAlgoId(1), ids, &[], &mut writer).unwrap();
            let mut exchange = Exchange::new(Role::HostedCache);
            exchange.handle(Instant::ZERO, &store, writer.finish());
            assert!(exchange.finish(&store, false));
            // Once to see that it is there, and once for its age; a name is compared, too, with that of its segment.
            let rows = looked_at();
            assert!(rows <= 8 * found + vain, "{rows} of {count}");
            let mut reply = [0; 4_096];
            let len = exchange.read(&mut store, &mut reply).unwrap();
            let Ok(Reply::SegmentList(list)) = Reply::parse(&reply[..len]) else { panic!("no list") };
            let listed: u32 = list.ranges.iter().map(|range| range.count).sum();
            assert_eq!(listed, if here { ASKED } else { 0 });
        }
    }
}
