//! Messages to hosted caches that ask who we are: what comes between a session of TLS and the node.

use super::*;
use crate::std::negotiate::Taken;

/// How often it is looked whether a token has been made: nobody on the network waits for it any more closely.
const TOKEN_POLL: Duration = Duration::from_millis(10);

impl Origins {
    /// The hosted cache of that number, whose name is `host`, is told who we are if it asks (MS-PCHC 2.1, RFC 4559):
    /// by the Kerberos tickets of the user who runs this. Only where offers to it are secured.
    pub fn authenticate_offers(&mut self, number: u8, host: &str) {
        self.origins.entry(Purpose::Offers(number)).or_default().tokens = Some(Tokens::new(host));
    }

    /// When it has to be looked whether a token is there.
    pub(super) fn token_timeout(&self, now: Instant) -> Option<Instant> {
        self.streams.values().any(Stream::waits_for_token).then_some(now + TOKEN_POLL)
    }

    /// A connection has ended; whether that counts for nothing, since its message waits for a token.
    pub(super) fn cut(&mut self, stream: StreamId) -> bool {
        let row = self.streams.get_mut(&stream).filter(|row| row.waits_for_token());
        let exchange = row.and_then(|row| row.exchange.as_mut());
        exchange.map(|exchange| exchange.cut()).is_some()
    }

    /// Leaves of the plain bytes that have come what the node may have.
    pub(super) fn take_reply(&mut self, now: Instant, stream: StreamId) {
        let held = self.streams.get_mut(&stream).and_then(|row| Some(&mut row.secured.as_mut()?.held));
        let bytes = held.map(core::mem::take).unwrap_or_default();
        if !bytes.is_empty() {
            self.take(now, stream, bytes);
        }
    }

    /// Takes the end of a connection, if it is there; whether it is not for the node.
    pub(super) fn take_end(&mut self, now: Instant, stream: StreamId) -> bool {
        let open = self.streams.get(&stream).filter(|row| row.phase == Phase::Open);
        let secured = open.filter(|row| row.exchange.is_some()).and_then(|row| row.secured.as_ref());
        if !secured.is_some_and(|secured| secured.session.is_closed() && !secured.ended) {
            return false;
        }
        if !self.cut(stream) {
            self.take(now, stream, Vec::new());
        }
        self.streams.get(&stream).is_some_and(Stream::waits_for_token)
    }

    fn take(&mut self, now: Instant, stream: StreamId, bytes: Vec<u8>) {
        let Some(row) = self.streams.get_mut(&stream) else { return };
        let Some(secured) = &mut row.secured else { return };
        let Some(exchange) = &mut row.exchange else {
            secured.held = bytes;
            return;
        };
        let Some(origin) = self.origins.get_mut(&row.purpose) else { return };
        match exchange.take(&bytes) {
            Taken::More => {}
            Taken::Reply(reply) => secured.held.extend(reply),
            Taken::Asked(challenge) => {
                if let Some(tokens) = &mut origin.tokens {
                    tokens.asks = true;
                    tokens.ask(now, challenge);
                }
            }
            Taken::Refused(reply, why) => {
                secured.held.extend(reply);
                origin.refuse(why);
            }
        }
    }
}

impl Layer<'_> {
    /// What goes out of a message.
    pub(super) fn poll_message(
        &mut self,
        now: Instant,
        stream: StreamId,
        room: &mut [u8],
    ) -> Result<usize, StreamError> {
        let Self { node, origins } = self;
        let Origins { origins, streams, .. } = &mut **origins;
        let row = streams.get_mut(&stream);
        let Some((purpose, exchange)) = row.and_then(|row| Some((row.purpose, row.exchange.as_mut()?)))
        else {
            return node.poll_stream(now, stream, room);
        };
        let tokens = origins.get_mut(&purpose).and_then(|origin| origin.tokens.as_mut());
        let asks = tokens.as_ref().is_some_and(|tokens| tokens.asks);
        let polled = exchange.poll(room, asks, |room| node.poll_stream(now, stream, room))?;
        if polled.is_none() {
            tokens.into_iter().for_each(|tokens| tokens.ask(now, None));
        }
        Ok(polled.unwrap_or_default())
    }

    /// Messages go out again whose tokens are there.
    pub(super) fn prove(&mut self, now: Instant) {
        let waiting = self.origins.streams.iter().filter(|(_, row)| row.waits_for_token());
        let waiting: Vec<StreamId> = waiting.map(|(stream, _)| *stream).collect();
        for stream in waiting {
            self.prove_one(now, stream);
        }
    }

    fn prove_one(&mut self, now: Instant, stream: StreamId) {
        let Origins { origins, streams, due } = &mut *self.origins;
        let Some(row) = streams.get_mut(&stream) else { return };
        let (Some(exchange), Some(origin)) = (&mut row.exchange, origins.get_mut(&row.purpose)) else {
            return;
        };
        let Some(result) = origin.tokens.as_mut().and_then(|tokens| tokens.poll(now)) else { return };
        match result {
            Ok(token) => {
                if exchange.prove(&token) {
                    self.node.sent_again(now, stream);
                }
            }
            Err(why) => {
                let is_cut = exchange.is_cut();
                if let Some(reply) = exchange.give_up() {
                    origin.refuse(&std::format!("and there is nothing to tell it: {why}"));
                    if let Some(secured) = &mut row.secured {
                        secured.held.extend(reply);
                        // That the connection has ended was not for the node as long as there was hope.
                        let is_lost = is_cut && !secured.session.is_closed();
                        secured.cut = is_lost.then(|| io::ErrorKind::ConnectionAborted.into());
                    }
                    self.deliver(now, stream);
                    return;
                }
            }
        }
        if !exchange.is_cut() {
            due.push_back(Due::Resume(stream));
            return;
        }
        let Some(next) = origin.address(row) else { return };
        if let Some(row) = streams.remove(&stream) {
            due.push_back(Due::Abort(stream));
            self.redial(stream, row, next);
        }
    }
}

impl Origin {
    /// Why it takes no message of ours, as core would say it.
    fn refuse(&mut self, why: &str) {
        let error = io::Error::other(std::format!("it asks for authentication (401), {why}"));
        self.trouble = Some(Trouble { connected: self.connected, refused: true, error });
    }
}

impl Stream {
    fn waits_for_token(&self) -> bool {
        self.phase == Phase::Open && self.exchange.as_ref().is_some_and(|exchange| exchange.waits())
    }
}
