//! What is said of hosted caches that fail.

use std::net::SocketAddr;

use peerdist_core::hosted::client::Failure;
use peerdist_core::time::{Duration, Instant};
use peerdist_sim::net::station::Station;

use super::HostedArgs;
use crate::cmd::tell;

/// After how long the same is told again.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// What was said, and what is still to be.
#[derive(Default)]
pub struct Telling {
    /// Why each address has failed since anything was taken.
    why: Vec<(SocketAddr, String)>,
    /// Messages that were taken.
    taken: u32,
    /// What was said last of each hosted cache, and when.
    told: Vec<(usize, String, Instant)>,
}

impl Telling {
    /// Says which hosted cache has failed since the last time, and why, once that is so under all of its addresses.
    pub fn failure(&mut self, hosted: &HostedArgs, station: &mut Station) {
        let Some(offers) = station.node.offers() else { return };
        let (taken, failure) = (offers.state.counters.messages, offers.state.poll_failure());
        if std::mem::replace(&mut self.taken, taken) != taken {
            self.why.clear();
        }
        let Some((address, failure)) = failure else { return };
        let places = hosted.places();
        let Some(place) = places.iter().position(|(_, place)| place.offers == address) else { return };
        let mut why = failure.to_string();
        let is_known = matches!(failure, Failure::Unreachable | Failure::Lost)
            || cfg!(feature = "negotiate") && failure == Failure::Unauthorized;
        if is_known && let Some(trouble) = station.driver.origins().take_offers_trouble(place as u8) {
            why = trouble.error.to_string();
        }
        // An error of a connection that never came about names where to.
        let why = why.strip_prefix(&format!("{address}: ")).unwrap_or(&why).to_string();
        let number = places[place].0;
        let line = self.line(places.iter().filter(|it| it.0 == number).map(|it| it.1.offers), address, why);
        if let Some(line) = line.filter(|line| self.is_news(station.now(), number, line)) {
            tell(&line);
        }
    }

    /// Notes why one of the addresses of a hosted cache has failed; what to say if they all have.
    fn line(
        &mut self,
        addresses: impl Iterator<Item = SocketAddr>,
        address: SocketAddr,
        why: String,
    ) -> Option<String> {
        self.why.retain(|known| known.0 != address);
        self.why.push((address, why));
        let why = addresses.map(|address| self.why.iter().find(|known| known.0 == address));
        let why: Option<Vec<_>> =
            why.map(|known| known.map(|(address, why)| format!("{address}: {why}"))).collect();
        why.map(|why| format!("hosted cache {}; for now it is offered nothing", why.join("; ")))
    }

    /// Whether that was not said a short while ago.
    fn is_news(&mut self, now: Instant, number: usize, line: &str) -> bool {
        if self.told.iter().any(|(of, told, at)| *of == number && told == line && now < *at + TELL_AGAIN) {
            return false;
        }
        self.told.retain(|(of, ..)| *of != number);
        self.told.push((number, line.into(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_all_addresses_have_failed() {
        let [one, two] = [1, 2].map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
        let mut telling = Telling::default();
        let mut line =
            |of: &[SocketAddr], address, why: &str| telling.line(of.iter().copied(), address, why.into());
        assert_eq!(line(&[one, two], one, "refused"), None);
        assert_eq!(line(&[one, two], one, "no way"), None);
        let both = "hosted cache 10.0.0.1:80: no way; 10.0.0.2:80: refused; for now it is offered nothing";
        assert_eq!(line(&[one, two], two, "refused").as_deref(), Some(both));
        let alone = "hosted cache 10.0.0.1:80: no way; for now it is offered nothing";
        assert_eq!(line(&[one], one, "no way").as_deref(), Some(alone));
    }

    #[test]
    fn the_same_is_not_told_again() {
        let mut telling = Telling::default();
        let now = Instant::from_millis(1_000);
        assert!(telling.is_news(now, 0, "a") && telling.is_news(now, 1, "a"));
        assert!(!telling.is_news(now + Duration::from_secs(599), 0, "a"));
        assert!(telling.is_news(now, 0, "b") && telling.is_news(now, 0, "a"));
        assert!(telling.is_news(now + TELL_AGAIN, 0, "a"));
    }
}
