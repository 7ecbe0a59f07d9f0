use std::vec;

use super::*;

const MESSAGE: &str = "POST /C574 HTTP/1.1\r\nHost: cache\r\nContent-Length: 5\r\n\r\noffer";
const ASKS: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 2\r\n\r\nno";
const TAKES: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\0";

/// What goes out, of a node that has so many messages; and whether a token is wanted first.
fn sends(exchange: &mut Exchange, messages: usize, asks: bool) -> (String, bool) {
    let mut left = MESSAGE.repeat(messages).into_bytes();
    let (mut room, mut all) = ([0; 7], Vec::new());
    let mut read = |room: &mut [u8]| {
        let len = room.len().min(left.len());
        room[..len].copy_from_slice(&left[..len]);
        left.drain(..len);
        Ok::<usize, ()>(len)
    };
    loop {
        match exchange.poll(&mut room, asks, &mut read).unwrap() {
            None => return (String::from_utf8(all).unwrap(), true),
            Some(0) => return (String::from_utf8(all).unwrap(), false),
            Some(len) => all.extend_from_slice(&room[..len]),
        }
    }
}

fn proven(token: &str) -> (String, bool) {
    let line = std::format!("HTTP/1.1\r\nAuthorization: Negotiate {token}\r\n");
    (MESSAGE.replace("HTTP/1.1\r\n", &line), false)
}

fn refused(reply: &str, why: &'static str) -> Taken {
    Taken::Refused(reply.into(), why)
}

#[test]
fn what_nobody_asks_about_passes() {
    let mut exchange = Exchange::new();
    for _ in 0..2 {
        assert_eq!(sends(&mut exchange, 1, false), (MESSAGE.into(), false));
        assert_eq!(exchange.take(&TAKES.as_bytes()[..20]), Taken::More);
        assert_eq!(exchange.take(&TAKES.as_bytes()[20..]), Taken::Reply(TAKES.into()));
    }
    assert_eq!(exchange.take(b"unasked"), Taken::Reply(b"unasked".to_vec()));
}

#[test]
fn it_goes_out_again_with_a_token() {
    let mut exchange = Exchange::new();
    assert_eq!(sends(&mut exchange, 1, false), (MESSAGE.into(), false));
    for piece in ASKS.as_bytes()[..ASKS.len() - 1].chunks(11) {
        assert_eq!(exchange.take(piece), Taken::More);
    }
    assert_eq!(exchange.take(b"o"), Taken::Asked(None));
    assert!(exchange.waits());
    assert_eq!(sends(&mut exchange, 0, true), (String::new(), false));
    assert!(exchange.prove(b"\0\x01\x02ticket"));
    assert_eq!(sends(&mut exchange, 0, true), proven("AAECdGlja2V0"));
    assert_eq!(exchange.take(TAKES.as_bytes()), Taken::Reply(TAKES.into()));

    // The next one has a token at once, which is wanted once.
    assert_eq!(sends(&mut exchange, 1, true), (String::new(), true));
    assert_eq!(sends(&mut exchange, 0, true), (String::new(), false));
    assert!(!exchange.prove(b"next"));
    assert_eq!(sends(&mut exchange, 0, true), proven("bmV4dA=="));
    assert_eq!(exchange.take(TAKES.as_bytes()), Taken::Reply(TAKES.into()));
}

/// Whoever asks for ever is asked so often.
#[test]
fn rounds_are_few() {
    let asks = ASKS.replace("Negotiate\r", "Basic realm=\"x\", negotiate  aGk=\r");
    let mut exchange = Exchange::new();
    sends(&mut exchange, 1, false);
    for time in 1..TIMES {
        let token = (time > 1).then(|| b"hi".to_vec());
        assert_eq!(exchange.take(asks.as_bytes()), Taken::Asked(token));
        exchange.prove(b"token");
        assert_eq!(sends(&mut exchange, 0, true), proven("dG9rZW4="));
    }
    assert_eq!(exchange.take(asks.as_bytes()), refused(&asks, "again and again"));
    // That is over.
    assert_eq!(sends(&mut exchange, 1, false), (MESSAGE.into(), false));
}

#[test]
fn refusals() {
    for (reply, why) in [
        (
            ASKS.replace("Negotiate", "Basic realm=\"x\""),
            "and not by Negotiate, which is all that is known here",
        ),
        (ASKS.replace("WWW-Authenticate", "X"), "and not by Negotiate, which is all that is known here"),
        (
            std::format!("{}{}", ASKS.replace(": 2", ": 99999"), "x".repeat(REPLY_BYTES)),
            "with a reply that is too long, or none",
        ),
    ] {
        let mut exchange = Exchange::new();
        sends(&mut exchange, 1, false);
        assert_eq!(exchange.take(reply.as_bytes()), refused(&reply, why));
    }
    let goes_on = ASKS.replace("Negotiate", "Negotiate aGk=\r\nConnection: close");
    for (reply, why) in [
        (ASKS, "and refuses the ticket that it was given"),
        (&goes_on, "and ends the connection before that is complete"),
    ] {
        let mut exchange = Exchange::new();
        sends(&mut exchange, 1, true);
        exchange.prove(b"ticket");
        sends(&mut exchange, 0, true);
        assert_eq!(exchange.take(reply.as_bytes()), refused(reply, why));
    }
}

#[test]
fn without_a_ticket() {
    let mut exchange = Exchange::new();
    assert_eq!(sends(&mut exchange, 1, true), (String::new(), true));
    assert_eq!(exchange.give_up(), None);
    assert_eq!(sends(&mut exchange, 0, true), (MESSAGE.into(), false), "it may do without");
    assert_eq!(exchange.take(ASKS.as_bytes()), Taken::Asked(None));
    assert_eq!(exchange.give_up(), Some(ASKS.into()));
    assert!(!exchange.waits());
}

/// What stands before it, or beside it, does not hide it.
#[test]
fn what_is_asked_for() {
    for (reply, token) in [
        (ASKS.into(), Some(None)),
        (
            std::format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n{ASKS}"),
            Some(None),
        ),
        (ASKS.replace("Negotiate", "Negotiate aGk="), Some(Some(b"hi".to_vec()))),
        (ASKS.replace("Negotiate", "Basic realm=\"x\""), None),
        ("HTTP/1.1 100 Continue\r\n\r\n".into(), None),
        (String::new(), None),
    ] {
        assert_eq!(challenge(reply.as_bytes()), token, "{reply}");
    }
    let latin = ASKS.replace("WWW", "WWW-Authenticate: Basic realm=\"B\u{fc}ro\"\r\nWWW");
    let latin: Vec<u8> = latin.chars().map(|char| char as u8).collect();
    assert_eq!(challenge(&latin), Some(None));
}

/// The hosted cache ends the connection, says that it will, or asks before it has all of the message.
#[test]
fn on_another_connection() {
    let closes = ASKS.replace("no", "").replace(": 2", ": 0\r\nConnection: close");
    let until_close = ASKS.replace("Content-Length: 2", "Connection: close");
    for (reply, ends, early) in
        [(ASKS, true, false), (&closes, false, false), (&until_close, true, false), (ASKS, false, true)]
    {
        let mut exchange = Exchange::new();
        if early {
            let mut room = vec![0; MESSAGE.len()];
            let mut left = Some(MESSAGE);
            let polled = exchange.poll(&mut room, false, |room| {
                let message = left.take().unwrap_or_default();
                room[..message.len()].copy_from_slice(message.as_bytes());
                Ok::<usize, ()>(message.len())
            });
            assert_eq!(polled, Ok(Some(MESSAGE.len())));
            exchange.sent = 3;
        } else {
            sends(&mut exchange, 1, false);
        }
        let mut taken = exchange.take(reply.as_bytes());
        if ends && taken == Taken::More {
            taken = exchange.take(&[]);
        } else if ends {
            exchange.cut();
        }
        assert_eq!(taken, Taken::Asked(None), "{reply}");
        assert!(exchange.is_cut(), "{reply}");
        exchange.prove(b"ticket");
        assert_eq!(sends(&mut exchange, 0, true), (String::new(), false), "not on this one");
        assert!(exchange.reconnected());
        assert_eq!(sends(&mut exchange, 0, true), proven("dGlja2V0"));
        assert_eq!(exchange.take(TAKES.as_bytes()), Taken::Reply(TAKES.into()));
    }
}

/// What is too long to be kept goes out all the same.
#[test]
fn a_message_that_is_not_kept() {
    let mut exchange = Exchange::new();
    let times = MESSAGE_BYTES / MESSAGE.len() + 9;
    assert_eq!(sends(&mut exchange, times, false), (MESSAGE.repeat(times), false));
    let why = "and the message is too long to be sent again";
    assert_eq!(exchange.take(ASKS.as_bytes()), refused(ASKS, why));
}
