//! Offers to a hosted cache, and its responses.

use std::net::SocketAddr;

use peerdist_core::bytes::Writer;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::hosted::server::{Counters, Desk as _, Ended, Key, Message, Offer, Server, State};
use peerdist_core::hosted::wire::{
    DESCRIPTOR_BYTES, Descriptor, MessageType, OPENING_BYTES, Opening, ResponseCode, Version,
};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::Instant;

use super::numbers;

/// What is read is the same when it is written again; a server answers it or drops it whatever the pieces in which it
/// comes, and what it wants then comes to an end.
pub fn hosted_offer(data: &[u8]) {
    if let Some(response) = data.first_chunk()
        && let Ok(code) = ResponseCode::parse(response)
    {
        assert_eq!(code.to_wire(), *response);
    }
    for version in [Version::V1, Version::V2] {
        let whole = serve(version, data, data.len().max(1));
        assert_eq!(serve(version, data, 1 + numbers(data).1 as usize % 61), whole);
        assert!(whole.1.is_some() || whole.2 == 0, "a message that is dropped leaves nothing behind");
    }
    let Some((opening, rest)) = data.split_first_chunk::<OPENING_BYTES>() else { return };
    let opening = Opening::parse(opening);
    let mut room = [0; OPENING_BYTES];
    opening.emit(&mut Writer::new(&mut room)).unwrap();
    assert_eq!(Opening::parse(&room), opening);
    assert_eq!(MessageType::from_wire(opening.message.to_wire()), opening.message);
    assert!(!(opening.is_of(Version::V1) && opening.is_of(Version::V2)));
    for bytes in rest.as_chunks::<DESCRIPTOR_BYTES>().0 {
        let Ok(descriptor) = Descriptor::parse(bytes) else { continue };
        let mut room = [0; DESCRIPTOR_BYTES];
        descriptor.emit(&mut Writer::new(&mut room)).unwrap();
        assert_eq!(room, *bytes);
        assert_eq!(
            descriptor.blocks().is_none(),
            descriptor.block_bytes == 0 || descriptor.segment_bytes == 0
        );
    }
}

/// What a hosted cache of that version counts, what it answers, and how many blocks it then wants.
fn serve(version: Version, message: &[u8], piece: usize) -> (Counters, Option<ResponseCode>, u32) {
    let (mut offers, mut messages) = ([const { Offer::FREE }; 160], [Message::FREE]);
    let (mut state, now, key) = (State::default(), Instant::ZERO, Key(7));
    let mut store = RamStore::new([const { Page::EMPTY }; 1], [const { Entry::EMPTY }; 1], [0; 40_000]);
    let mut server = Server { offers: &mut offers, messages: &mut messages, state: &mut state };
    assert!(server.begin(now, key, SocketAddr::from(([10, 0, 0, 1], 5_000)), version, &mut store));
    message.chunks(piece).for_each(|piece| server.take(now, key, piece, &mut store));
    let answer = server.finish(now, key, &mut store);
    while server.check(&mut store, &mut SoftCrypto) {}
    let mut wanted = 0;
    while let Some(block) = server.next(now, &store, &|_| 0) {
        server.ended(now, block.offer, block.client, block.block.index, Ended::NotHeld);
        wanted += 1;
    }
    (state.counters, answer, wanted)
}
