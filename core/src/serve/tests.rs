use super::*;
use crate::content::SegmentId;
use crate::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use crate::store::BlockId;
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::verify::{Expected, Intake};
use crate::time::Duration;

const ASK: &[u8] = include_bytes!("../../../tests/vectors/pccrr-getblks-0.bin");
const HEAD: &[u8] =
    b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\nHost: x\r\nContent-Length: 68\r\n\r\n";

type TestStore = RamStore<[Page; 1], [Entry; 1], [u8; 0]>;

/// Block 0 of the vectors' segment.
fn store() -> TestStore {
    let mut store = RamStore::new([Page::EMPTY], [Entry::EMPTY], []);
    let segment = SegmentId::from_slice(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
    let kp = Secret::from_slice(&[1; 32]).unwrap();
    let algorithm = HashAlgorithm::Sha256;
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, b"stored"), len: 6 };
    let slot = store.reserve(&BlockId { segment, index: 0 }, 16).unwrap();
    let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [5; 16] };
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
    intake.update(&mut store, &mut SoftCrypto, &kp, b"stored").unwrap();
    store
}

struct Dialogue {
    upload: Upload,
    store: TestStore,
    counters: Counters,
    now: Instant,
}

impl Dialogue {
    fn new() -> Self {
        let now = Instant::from_millis(1_000);
        Self { upload: Upload::new(now), store: store(), counters: Counters::default(), now }
    }

    fn hear(&mut self, bytes: &[u8]) -> usize {
        self.upload.handle(self.now, &self.store, &mut self.counters, false, bytes)
    }

    fn say(&mut self, room: usize) -> heapless::Vec<u8, 512> {
        let mut all = heapless::Vec::new();
        let mut buf = [0; 512];
        loop {
            let Self { upload, store, counters, now } = self;
            match upload.poll(*now, store, counters, &mut buf[..room]).unwrap() {
                0 => return all,
                len => all.extend_from_slice(&buf[..len]).unwrap(),
            }
        }
    }
}

#[test]
fn a_block_in_any_room() {
    for room in [1, 7, 512] {
        let mut dialogue = Dialogue::new();
        assert_eq!(dialogue.hear(HEAD), HEAD.len());
        assert!(!dialogue.upload.is_idle() && dialogue.upload.wants_input());
        assert_eq!(dialogue.hear(&ASK[..60]), 60);
        // The next request waits until this one is answered.
        let mut rest = heapless::Vec::<u8, 256>::from_slice(&ASK[60..]).unwrap();
        rest.extend_from_slice(HEAD).unwrap();
        assert_eq!(dialogue.hear(&rest), 8);
        assert!(dialogue.upload.is_active());
        let reply = dialogue.say(room);
        assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(reply.ends_with(&[5; 16]));
        assert!(dialogue.upload.is_idle() && !dialogue.upload.is_active());
        assert_eq!((dialogue.counters.answered, dialogue.counters.blocks), (1, 1));
        assert_eq!(dialogue.counters.block_bytes, 16);
    }
}

/// MS-PCCRR 3.2.2: the timer runs from the request on, however long the connection was kept
/// before, and whatever trickles after.
#[test]
fn the_timer_is_per_exchange() {
    let mut dialogue = Dialogue::new();
    let opened = dialogue.now;
    dialogue.now += Duration::from_secs(14);
    dialogue.hear(&HEAD[..9]);
    assert_eq!(dialogue.upload.deadline(), opened + UPLOAD_TIMEOUT, "that is no request line");
    dialogue.hear(&HEAD[9..]);
    let begun = dialogue.now;
    assert_eq!(dialogue.upload.deadline(), begun + UPLOAD_TIMEOUT);
    dialogue.now += Duration::from_secs(9);
    dialogue.hear(&ASK[..9]);
    assert_eq!(dialogue.upload.deadline(), begun + UPLOAD_TIMEOUT);
    dialogue.hear(&ASK[9..]);
    dialogue.say(512);
    assert_eq!(dialogue.upload.deadline(), dialogue.now + UPLOAD_TIMEOUT);
}

#[test]
fn a_client_that_waits_to_be_told() {
    let mut dialogue = Dialogue::new();
    let head = b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7 HTTP/1.1\r\nHost: x\r\nContent-Length: 68\r\nExpect: 100-continue\r\n\r\n";
    dialogue.hear(head);
    assert!(dialogue.say(5).starts_with(b"HTTP/1.1 100 "));
    dialogue.hear(ASK);
    assert!(dialogue.say(5).starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn the_other_side_sends_no_more() {
    let mut dialogue = Dialogue::new();
    dialogue.upload.handle_eof();
    assert!(dialogue.upload.is_over());

    let mut dialogue = Dialogue::new();
    dialogue.hear(HEAD);
    dialogue.hear(ASK);
    dialogue.upload.handle_eof();
    assert!(!dialogue.upload.is_over(), "it may still read the reply");
    assert!(dialogue.say(64).ends_with(&[5; 16]));
    assert!(dialogue.upload.is_over());
}

#[test]
fn rot_resets_the_connection_and_drops_the_block() {
    let mut dialogue = Dialogue::new();
    dialogue.hear(HEAD);
    dialogue.hear(ASK);
    let slot = dialogue.upload.reply.as_ref().unwrap().block().unwrap().slot;
    dialogue.store.rot(slot, 3);
    let Dialogue { upload, store, counters, now } = &mut dialogue;
    assert_eq!(upload.poll(*now, store, counters, &mut [0; 512]), Err(StoreError::Damaged));
    assert!(upload.is_over());
    assert_eq!((counters.damaged, counters.blocks), (1, 0));
    assert!(store.read(slot, 0, &mut [0]).is_err());
}
