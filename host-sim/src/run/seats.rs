//! Who has which name and which addresses.

use std::net::Ipv4Addr;

use super::{PREFIX_LEN, Seat};
use crate::hosted::ADDRESS;
use crate::rng::Seed;
use crate::scenario::Member;

/// Whether an address is of the network of the simulation, and a host's.
pub fn is_inside(address: Ipv4Addr) -> bool {
    let [net, host] = [u32::MAX << (32 - PREFIX_LEN), u32::MAX >> PREFIX_LEN].map(|m| u32::from(address) & m);
    net == u32::from(Ipv4Addr::new(10, 0, 0, 0)) && host != 0 && host != u32::MAX >> PREFIX_LEN
}

/// Seat 0 is the origin's.
pub(super) fn seat(number: usize, seed: &Seed) -> Seat {
    let [high, low] = (number as u16).to_be_bytes();
    // 250 clients to a third byte, so that no address looks like a network's or a broadcast's.
    let ip = match number.checked_sub(1) {
        None => [10, 0, 0, 1],
        Some(client) => [10, 0, 1 + (client / 250) as u8, 1 + (client % 250) as u8],
    };
    let (mac, seed) = ([0x02, 0, 0, 0, high, low], seed.child("host", number as u64));
    Seat { name: name(number), mac, ip, seed, store: None }
}

/// Only where there are machines.
pub(super) fn services_seat(seed: &Seed) -> Seat {
    let seed = seed.child("services", 0);
    Seat {
        name: Member::Services.to_string(),
        mac: [0x02, 0, 0, 1, 0, 0],
        ip: [10, 0, 0, 2],
        seed,
        store: None,
    }
}

/// Only where there is one.
pub(super) fn hosted_seat(seed: &Seed) -> Seat {
    let seed = seed.child("hosted", 0);
    let (name, ip) = (Member::Hosted.to_string(), ADDRESS.octets());
    Seat { name, mac: [0x02, 0, 0, 3, 0, 0], ip, seed, store: None }
}

/// Hostile hosts, from zero.
pub(super) fn hostile_seat(index: usize, seed: &Seed) -> Seat {
    let [high, low] = (index as u16).to_be_bytes();
    let (name, seed) = (hostile_name(index), seed.child("hostile", index as u64));
    let ip = [10, 0, 16 + (index / 250) as u8, 1 + (index % 250) as u8];
    Seat { name, mac: [0x02, 0, 0, 2, high, low], ip, seed, store: None }
}

/// The names of all hosts, in the order of their ports.
pub(super) fn names(clients: usize, machines: usize, hosted: bool, hostiles: usize) -> Vec<String> {
    let services = (machines > 0).then(|| Member::Services.to_string());
    let machines = (0..machines).map(|index| Member::Machine(index).to_string());
    let hosted = hosted.then(|| Member::Hosted.to_string());
    let few = services.into_iter().chain(hosted);
    (0..=clients).map(name).chain(machines).chain(few).chain((0..hostiles).map(hostile_name)).collect()
}

fn name(number: usize) -> String {
    number.checked_sub(1).map_or(Member::Origin, Member::Client).to_string()
}

fn hostile_name(index: usize) -> String {
    format!("hostile-{:02}", index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_network() {
        for inside in [[10, 0, 0, 1], [10, 0, 9, 1], [10, 0, 255, 254]] {
            assert!(is_inside(inside.into()), "{inside:?}");
        }
        for outside in [[0, 0, 0, 0], [10, 0, 0, 0], [10, 0, 255, 255], [10, 1, 0, 1], [255; 4]] {
            assert!(!is_inside(outside.into()), "{outside:?}");
        }
    }

    #[test]
    fn nobody_shares_an_address() {
        let seed = Seed::new(1);
        let mut seats: Vec<_> = (0..=1_000).map(|number| seat(number, &seed)).collect();
        seats.push(services_seat(&seed));
        seats.push(hosted_seat(&seed));
        seats.extend((0..1_000).map(|index| hostile_seat(index, &seed)));
        for of in [|seat: &Seat| seat.ip.to_vec(), |seat: &Seat| seat.mac.to_vec()] {
            let mut all: Vec<_> = seats.iter().map(of).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), seats.len());
        }
        assert!(seats.iter().all(|seat| is_inside(seat.ip.into()) && seat.ip[2] != 9));
    }
}
