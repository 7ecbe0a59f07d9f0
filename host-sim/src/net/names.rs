//! The addresses of names, by the system's resolver: in threads of their own, as it may take half a minute.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use peerdist_hal::std::Waker;
use url::{Host, Url};

/// Names that are looked up at once: one that takes long is not in the way of the next, and many are no burden
/// for the system.
const LOOKUPS: usize = 4;

/// A resolver that is asked in a thread.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Looks names up.
#[derive(Clone)]
pub struct Names {
    /// One for each thread.
    running: Arc<()>,
    waker: Option<Waker>,
    resolve: Resolve,
}

/// The addresses of a URL's host, sooner or later.
#[derive(Default)]
pub struct Lookup(Option<Receiver<io::Result<Vec<SocketAddr>>>>);

impl Names {
    /// Asks the system. When there is an answer, `waker` wakes whoever waits for it.
    pub fn new(waker: Waker) -> Self {
        Self { running: Arc::default(), waker: Some(waker), resolve: system }
    }

    /// Looks the host of `url` up; `None` as long as there is no answer. The next call begins anew.
    pub fn poll(&self, url: &Url, lookup: &mut Lookup) -> Option<io::Result<Vec<SocketAddr>>> {
        let port = url.port_or_known_default().unwrap_or_default();
        let name = match url.host() {
            Some(Host::Ipv4(ip)) => return Some(Ok(vec![(ip, port).into()])),
            Some(Host::Ipv6(ip)) => return Some(Ok(vec![(ip, port).into()])),
            Some(Host::Domain(name)) => name,
            None => return Some(Err(io::Error::other("no host"))),
        };
        if lookup.0.is_none() {
            // The first is ours. Who ends wakes whoever waits for a thread, too.
            if Arc::strong_count(&self.running) > LOOKUPS {
                return None;
            }
            match self.begin(name.to_string(), port) {
                Ok(answer) => lookup.0 = Some(answer),
                Err(error) => return Some(Err(error)),
            }
        }
        let answer = match lookup.0.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(Ok(addresses)) if addresses.is_empty() => Err(io::Error::other("the name has no address")),
            Ok(answer) => answer,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the resolver failed")),
        };
        lookup.0 = None;
        Some(answer)
    }

    fn begin(&self, name: String, port: u16) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
        let (answer, answers) = channel();
        let Self { running, waker, resolve } = self.clone();
        thread::Builder::new().name("resolver".into()).spawn(move || {
            // Who asked may have gone.
            _ = answer.send(resolve(&name, port));
            drop((answer, running));
            if let Some(waker) = waker {
                waker.wake();
            }
        })?;
        Ok(answers)
    }
}

fn system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Whoever has it keeps names that begin with `slow` waiting.
    static SLOW: Mutex<()> = Mutex::new(());

    fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let _waited = name.starts_with("slow").then(|| SLOW.lock().unwrap_or_else(PoisonError::into_inner));
        match name {
            "none" => Ok(Vec::new()),
            "bad" => Err(io::Error::other("no such name")),
            _ => Ok(vec![([192, 0, 2, 1], port).into(), ([192, 0, 2, 2], port).into()]),
        }
    }

    fn names() -> Names {
        Names { running: Arc::default(), waker: None, resolve }
    }

    fn url(name: &str) -> Url {
        format!("http://{name}:81/").parse().expect("a URL")
    }

    fn wait(names: &Names, name: &str, lookup: &mut Lookup) -> Result<String, String> {
        loop {
            if let Some(answer) = names.poll(&url(name), lookup) {
                return answer.map(|them| format!("{them:?}")).map_err(|error| error.to_string());
            }
            thread::yield_now();
        }
    }

    #[test]
    fn who_asks_does_not_wait() {
        let names = names();
        let held = SLOW.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slow: [Lookup; LOOKUPS - 1] = Default::default();
        for lookup in &mut slow {
            assert!(names.poll(&url("slow"), lookup).is_none());
        }
        let both = "[192.0.2.1:81, 192.0.2.2:81]";
        assert_eq!(wait(&names, "quick", &mut Lookup::default()).as_deref(), Ok(both));
        while Arc::strong_count(&names.running) > LOOKUPS {
            thread::yield_now();
        }
        let (mut last, mut beyond) = (Lookup::default(), Lookup::default());
        assert!(names.poll(&url("slow"), &mut last).is_none());
        assert!(names.poll(&url("quick"), &mut beyond).is_none() && beyond.0.is_none(), "no thread is left");
        drop(held);
        for lookup in slow.iter_mut().chain([&mut last, &mut beyond]) {
            assert_eq!(wait(&names, "slow", lookup).as_deref(), Ok(both));
        }
    }

    #[test]
    fn what_is_no_answer() {
        let lookup = &mut Lookup::default();
        assert_eq!(wait(&names(), "none", lookup), Err("the name has no address".into()));
        assert_eq!(wait(&names(), "bad", lookup), Err("no such name".into()));
    }

    #[test]
    fn addresses_are_known() {
        for (host, address) in [("192.0.2.7", "[192.0.2.7:81]"), ("[2001:db8::1]", "[[2001:db8::1]:81]")] {
            let answer = names().poll(&url(host), &mut Lookup::default()).expect("at once");
            assert_eq!(format!("{:?}", answer.expect("addresses")), address);
        }
    }
}
