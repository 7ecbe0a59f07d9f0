//! Tokens of the system's GSS-API, from the tickets of the user who runs this.

use std::borrow::ToOwned as _;
use std::format;
use std::string::{String, ToString as _};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::vec::Vec;

use libgssapi::context::{ClientCtx, CtxFlags};
use libgssapi::error::Error;
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE};
use peerdist_core::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a message waits for a token: it expires after 15 seconds (MS-PCHC 3.2.2), which would not tell why.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tokens for one hosted cache.
pub(in super::super) struct Tokens {
    /// As whom it is known to Kerberos.
    service: String,
    /// What is known of the message under way.
    context: Option<ClientCtx>,
    /// A thread that makes one. It may have to ask a server for a ticket, and that may be silent.
    job: Option<Receiver<Made>>,
    asked: Instant,
    /// Whether the hosted cache has asked who we are: from then on, it is told at once.
    pub(in super::super) asks: bool,
}

type Token = Zeroizing<Vec<u8>>;
type Made = Result<(ClientCtx, Token), String>;

impl Tokens {
    pub(in super::super) fn new(host: &str) -> Self {
        // RFC 4559 4.1: the service principal is HTTP/host.
        Self { service: format!("HTTP@{host}"), context: None, job: None, asked: Instant::ZERO, asks: false }
    }

    /// Has a token made, in answer to this one if there is one. While one is being made still, it has no more time: whoever
    /// is asked for the ticket is silent. One that was made for a message that is gone is too old by now.
    pub(in super::super) fn ask(&mut self, now: Instant, challenge: Option<Vec<u8>>) {
        let is_made = |job: &Receiver<Made>| !matches!(job.try_recv(), Err(TryRecvError::Empty));
        if !self.job.as_ref().is_none_or(is_made) {
            return;
        }
        self.asked = now;
        let (made, job) = channel();
        let (service, context) = (self.service.to_owned(), self.context.take());
        let make = move || {
            // Nobody waits for it if this fails.
            let _ = made.send(step(&service, context, challenge.as_deref()));
        };
        // Without a thread, nothing is sent, and that is seen.
        let _ = thread::Builder::new().name("negotiate".into()).spawn(make);
        self.job = Some(job);
    }

    /// The token, or why there is none, once that is known.
    pub(in super::super) fn poll(&mut self, now: Instant) -> Option<Result<Token, String>> {
        let made = match self.job.as_ref()?.try_recv() {
            Ok(made) => made,
            Err(TryRecvError::Empty) if now < self.asked + PATIENCE => return None,
            Err(TryRecvError::Empty) => return Some(Err("no ticket came in time".into())),
            Err(TryRecvError::Disconnected) => Err("no token could be made".into()),
        };
        self.job = None;
        Some(made.map(|(context, token)| {
            self.context = Some(context);
            token
        }))
    }
}

fn step(service: &str, context: Option<ClientCtx>, challenge: Option<&[u8]>) -> Made {
    // The certificate proves who it is, and TLS secures what is sent.
    let begin = |mechanism| {
        let name = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE))?;
        Ok(ClientCtx::new(None, name, CtxFlags::empty(), Some(mechanism)))
    };
    let mut context = match context.filter(|_| challenge.is_some()) {
        Some(context) => context,
        None => begin(GSS_MECH_SPNEGO).map_err(told)?,
    };
    match context.step(challenge, None) {
        Ok(Some(token)) if !token.is_empty() => Ok((context, Zeroizing::new(token.to_vec()))),
        Ok(_) => Err("it asks on when all is said".into()),
        // Of several mechanisms none is named that failed: Kerberos itself knows what is missing.
        Err(error) if challenge.is_none() => {
            let alone = begin(GSS_MECH_KRB5).and_then(|mut context| context.step(None, None));
            Err(told(alone.err().unwrap_or(error)))
        }
        Err(error) => Err(told(error)),
    }
}

/// In one line, without what ends a string of C.
fn told(error: Error) -> String {
    let text = error.to_string();
    let words = text.split(|at: char| at.is_whitespace() || at.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").replace(" )", ")")
}
