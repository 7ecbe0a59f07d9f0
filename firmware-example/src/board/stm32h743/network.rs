//! The cable, DHCP and DNS of embassy-net.

use core::net::Ipv4Addr;

use embassy_net::dns::DnsQueryType;
use embassy_net::{ConfigV4, IpAddress, Ipv4Cidr, StaticConfigV4};
use embassy_time::{Timer, with_timeout};
use heapless::String;
use peerdist_core::time::Duration;

use super::{Shared, now};
use crate::app::Action;
use crate::config::{Place, URL_BYTES};
use crate::preload::Failure;

/// After so long, at the earliest and at the latest, cable, lease and appliance are looked at again.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_millis(250);

/// embassy-net has either a client of DHCP or an address that is set. So once the address that is set was taken, a
/// server is looked for again only now and then: when nobody was served for so long, and then for so long without
/// an address.
const QUIET: Duration = Duration::from_secs(60);
const PATIENCE: embassy_time::Duration = embassy_time::Duration::from_secs(5);

/// What the appliance wants of its board, other than the bytes of its node.
pub async fn run(shared: Shared) -> ! {
    let Shared { driver, app, stack } = shared;
    // The address of the stack that the appliance knows of, and whether it is the one that is set.
    let mut known = None;
    let mut is_set = false;
    // The bytes that were served when that was looked at last, and when it is quiet.
    let (mut served, mut quiet_at) = (0, now() + QUIET);
    loop {
        let up = stack.is_link_up();
        if up && !app.borrow().has_link() {
            stack.set_config_v4(ConfigV4::Dhcp(Default::default()));
            (known, is_set) = (None, false);
        }
        app.borrow_mut().handle_link(now(), up);

        let bytes = driver.with_node(|node| node.counters().serve.block_bytes);
        if bytes != served {
            (served, quiet_at) = (bytes, now() + QUIET);
        }
        if let Some(place) = known.filter(|_| is_set && up && quiet_at <= now()) {
            stack.set_config_v4(ConfigV4::Dhcp(Default::default()));
            is_set = with_timeout(PATIENCE, stack.wait_config_up()).await.is_err();
            if is_set {
                stack.set_config_v4(ConfigV4::Static(config(&place)));
            }
            quiet_at = now() + QUIET;
        }

        let lease = stack.config_v4().map(|config| place(&config));
        if lease != known {
            (known, is_set) = (lease, false);
            app.borrow_mut().handle_lease(now(), lease);
        }
        loop {
            // Neither is borrowed over what follows.
            let wanted = driver.with_node(|node| app.borrow_mut().poll(now(), node).map(Wanted::from));
            match wanted {
                Some(Wanted::Address(place)) if known != Some(place) => {
                    stack.set_config_v4(ConfigV4::Static(config(&place)));
                    (known, is_set) = (Some(place), true);
                }
                Some(Wanted::Name(name)) => {
                    let address = resolve(shared, &name).await;
                    driver.with_node(|node| app.borrow_mut().handle_resolved(now(), node, address));
                }
                Some(Wanted::Address(_) | Wanted::Node) => {}
                None => break,
            }
        }
        let due = app.borrow().poll_timeout().map_or(LATER, |at| at.since(now()));
        Timer::after_micros(due.micros().clamp(SOON.micros(), LATER.micros())).await;
    }
}

/// An [`Action`] that borrows nothing.
enum Wanted {
    Address(Place),
    Name(String<URL_BYTES>),
    Node,
}

impl From<Action<'_>> for Wanted {
    fn from(action: Action<'_>) -> Self {
        match action {
            Action::Address(place) => Self::Address(place),
            // It is a part of a URL.
            Action::Resolve(name) => Self::Name(name.try_into().unwrap_or_default()),
            Action::Node => Self::Node,
        }
    }
}

async fn resolve(shared: Shared, name: &str) -> Result<Ipv4Addr, Failure> {
    let Shared { stack, .. } = shared;
    if stack.config_v4().is_none_or(|config| config.dns_servers.is_empty()) {
        return Err(Failure::NoServer);
    }
    match stack.dns_query(name, DnsQueryType::A).await {
        // Asked for with type A, so it is one of version 4, the only one of this stack.
        Ok(addresses) => addresses.first().map_or(Err(Failure::NotFound), |IpAddress::Ipv4(it)| Ok(*it)),
        Err(embassy_net::dns::Error::Failed) => Err(Failure::NotFound),
        Err(_) => Err(Failure::Name),
    }
}

fn place(config: &StaticConfigV4) -> Place {
    Place {
        address: config.address.address(),
        prefix: config.address.prefix_len(),
        router: config.gateway,
        dns: config.dns_servers.first().copied(),
    }
}

fn config(place: &Place) -> StaticConfigV4 {
    StaticConfigV4 {
        address: Ipv4Cidr::new(place.address, place.prefix.min(32)),
        gateway: place.router,
        dns_servers: place.dns.into_iter().collect(),
    }
}
