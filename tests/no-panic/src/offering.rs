//! The machine that offers to hosted caches, in the manner of [`machines`](crate::machines).

use peerdist_core::api::client::Told;
use peerdist_core::content::{Info, SegmentId};
use peerdist_core::hosted::client::{Came, Client, Failure, News, Place, Places, State, poll_timeout};
use peerdist_core::hosted::wire::{Descriptor, ResponseCode, Version};
use peerdist_core::offering::OfferStream;
use peerdist_core::store::{InfoId, InfoStore, InfoView};

use crate::codecs::checksum;
use crate::machines::{now, ram, unknown_address};
use crate::{forget, keep, unknown, unknown_array, unknown_u32};

/// Any hosted caches.
pub(crate) fn places() -> Places {
    let mut places = Places::new();
    while unknown() > 0 {
        let version = if unknown() == 0 { Version::V1 } else { Version::V2 };
        keep(places.push(Place { blocks: unknown_address(), offers: unknown_address(), version }));
        keep(places.push(Place::v2(unknown_address())));
    }
    places
}

fn failure() -> Failure {
    match unknown() {
        0 => Failure::Unreachable,
        1 => Failure::Unauthorized,
        2 => Failure::Status(unknown_u32() as u16),
        3 => Failure::BadResponse,
        4 => Failure::Unreadable,
        _ => Failure::Expired,
    }
}

#[inline(never)]
pub(crate) fn hosted_client(input: &[u8], output: &mut [u8]) {
    let (mut store, mut news, mut state) = (ram(), [const { News::FREE }; 3], State::default());
    let mut stream: Option<OfferStream> = None;
    while unknown() > 0 {
        let (store, news, state) = (forget(&mut store), forget(&mut news), forget(&mut state));
        let places = places();
        keep(poll_timeout(news, state, &places));
        keep((state.is_under_way(), state.poll_failure(), state.counters));
        let mut client = Client { news, state };
        match unknown() {
            0 => came(&mut client, input, store),
            1 => keep(client.work(now(), &places, store)),
            2 => client.answered(now(), ResponseCode::Interested, store),
            3 => client.answered(now(), ResponseCode::Ok, store),
            4 => client.failed(now(), &places, failure(), store),
            5 => keep(client.has_news()),
            6 => {
                let descriptor = input.first_chunk().and_then(|bytes| Descriptor::parse(bytes).ok());
                keep(descriptor.map(|descriptor| client.here(now(), &descriptor)));
            }
            _ => {
                let opened = places.first().map(|place| OfferStream::new(now(), unknown(), place));
                stream = opened.or(stream);
            }
        }
        let Some(stream) = forget(&mut stream) else { continue };
        keep((
            stream.place(),
            stream.remote(),
            stream.is_secured(),
            stream.is_connected(),
            stream.deadline(),
        ));
        keep(stream.is_stale());
        match unknown() {
            0 => stream.handle_connected(now()),
            1 => keep((stream.is_idle(), stream.keeps_open(), stream.begin())),
            2 => {
                keep(stream.poll(&client, unknown_u32() as u16, store, output));
                keep(checksum(output));
            }
            3 => keep(stream.handle(now(), input)),
            _ => keep(stream.handle_eof(now())),
        }
    }
}

fn came(client: &mut Client<'_>, id: &[u8], store: &mut dyn InfoStore) {
    let source = InfoId(unknown());
    let view = InfoView { store: &*store, id: source };
    let Ok(info) = Info::parse(&view) else { return };
    let Ok(segment) = info.segment(&view, unknown_u32()) else { return };
    let Some(id) = SegmentId::from_slice(id) else { return };
    let came = Came { info: &info, info_id: source, segment: &segment, id, tag: unknown_array() };
    client.came(&came, store);
}

/// Who is told of what comes.
pub(crate) struct Listener;

impl Told for Listener {
    fn came(&mut self, came: &Came<'_>, store: &mut dyn InfoStore) {
        keep((came.id, came.tag, came.segment.offset(), came.info.range(), store.info_len(came.info_id)));
    }
}
