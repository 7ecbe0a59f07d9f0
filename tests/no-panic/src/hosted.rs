//! The machine of a hosted cache, in the manner of [`machines`](crate::machines).

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::fetch::{Fetch, Job};
use peerdist_core::hosted::server::{self as offered, Desk as _};
use peerdist_core::hosted::wire as hosted;
use peerdist_core::pull::Pulls;

use crate::machines::{duration, fetch_config, now, ram, unknown_address};
use crate::{forget, keep, unknown, unknown_u32, unknown_u64};

/// The tables of a hosted cache.
pub(crate) type Offered = ([offered::Offer; 3], [offered::Message; 2], offered::State);

pub(crate) fn offers() -> Offered {
    let (offers, messages) = ([const { offered::Offer::FREE }; 3], [const { offered::Message::FREE }; 2]);
    (offers, messages, offered::State::default())
}

#[inline(never)]
pub(crate) fn hosted_server(input: &[u8], _: &mut [u8]) {
    let (mut store, mut tables, mut pulls) = (ram(), offers(), Pulls::default());
    let (mut fetch, mut jobs) = (Fetch::new(fetch_config()), [const { Job::FREE }; 3]);
    while unknown() > 0 {
        let (store, pulls, fetch) = (forget(&mut store), forget(&mut pulls), forget(&mut fetch));
        let (offers, messages, state) = forget(&mut tables);
        let version = if unknown() == 0 { hosted::Version::V1 } else { hosted::Version::V2 };
        let (key, jobs) = (offered::Key(unknown_u64()), forget(&mut jobs));
        state.limits = offered::Limits {
            segments: unknown_u32() as u16,
            bytes: unknown_u64(),
            infos: unknown(),
            blocks: unknown(),
            patience: duration(),
        };
        keep(offered::poll_timeout(offers, messages, &state.limits, now()));
        let mut server = offered::Server { offers, messages, state };
        match unknown() {
            0 => keep(server.begin(now(), key, unknown_address(), version, store)),
            1 => server.take(now(), key, input, store),
            2 => keep(server.finish(now(), key, store)),
            3 => keep(server.check(store, &mut SoftCrypto)),
            4 => {
                let wanted = server.next(now(), store, &|_| unknown_u32() as usize);
                keep(wanted.map(|wanted| (wanted.offer, wanted.client, wanted.block)));
            }
            5 => {
                let ended = match unknown() {
                    0 => offered::Ended::Here(unknown_u32()),
                    1 => offered::Ended::NotHeld,
                    2 => offered::Ended::Unreachable,
                    3 => offered::Ended::Bad,
                    4 => offered::Ended::Full,
                    5 => offered::Ended::Refused,
                    _ => offered::Ended::Again,
                };
                server.ended(now(), unknown_u32() as usize, unknown_address(), unknown_u32(), ended);
            }
            6 => server.expire(now(), store),
            7 => {
                keep(pulls.work(now(), &mut server, fetch, jobs, store, &mut SoftCrypto));
                keep(pulls.poll_timeout());
            }
            8 => server.forget(key, store),
            _ => keep((state.poll_unreachable(), state.counters)),
        }
    }
}
