//! What the harnesses share: input of which the optimiser knows nothing, a store that takes next to
//! nothing, the calls of the crypto provider, which every harness makes, and those of a node.
//!
//! `core` is what a harness takes beyond [`crypto`] alone.
#![no_std]

use core::hint::black_box;
use core::net::SocketAddr;
use core::ptr;

use peerdist_core::api::client::ContentTag;
use peerdist_core::content::{InfoUnreadable, SegmentId};
use peerdist_core::crypto::{CipherKey, Crypto, HashAlgorithm, SoftCrypto};
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, DOWNLOADS, Input, Node, Output, Service, Serving};
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{
    BlockId, InfoId, InfoStore, InfoStoreFull, ReserveError, SlotId, Store, StoreError, Stored,
};
use peerdist_core::time::{Duration, Instant};
use rand_core::{TryCryptoRng, TryRng};

/// A node of four connections, by what it does, with the tables that core has for so few.
pub type Peer<const DOWNLOADS_AT_ONCE: usize = DOWNLOADS, P = Serving> =
    Node<AnyStore, SoftCrypto, Entropy, 4, 2, DOWNLOADS_AT_ONCE, P>;

/// A byte of which the optimiser knows nothing.
#[inline(never)]
pub fn unknown() -> u8 {
    static MEMORY: u8 = 0;
    // SAFETY: a valid, aligned and initialised byte.
    unsafe { ptr::read_volatile(&raw const MEMORY) }
}

/// Any number.
#[inline(never)]
pub fn unknown_u64() -> u64 {
    static MEMORY: u64 = 0;
    // SAFETY: a valid, aligned and initialised number.
    unsafe { ptr::read_volatile(&raw const MEMORY) }
}

/// Any value of that type: one that exists, of which the optimiser knows nothing.
#[inline(never)]
pub fn any<T>(value: T) -> T {
    black_box(value)
}

/// Uses `value`.
#[inline(never)]
pub fn keep<T>(value: &T) {
    black_box(ptr::from_ref(value));
}

/// Calls every primitive in every algorithm.
#[inline(never)]
pub fn crypto(provider: &mut dyn Crypto) {
    let data = any([7; 64]);
    for algorithm in
        [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::TruncatedSha512]
    {
        let mut state = provider.hash_start(algorithm);
        provider.hash_update(&mut state, &data);
        keep(&provider.hash_finish(state));
        keep(&provider.hmac(algorithm, &data, &[&data]));
    }
    let mut blocks = any([[1; 16]; 4]);
    let mut chain = [0; 16];
    let (short, middle, long) = (any([0; 16]), any([0; 24]), any([0; 32]));
    for key in [CipherKey::Aes128(&short), CipherKey::Aes192(&middle), CipherKey::Aes256(&long)] {
        provider.cbc_encrypt(key, &mut chain, &mut blocks);
        provider.cbc_decrypt(key, &mut chain, &mut blocks);
        keep(&blocks);
    }
}

/// The provider, behind a vtable of which the optimiser knows nothing.
pub fn provider(soft: &mut SoftCrypto) -> &mut dyn Crypto {
    any(soft)
}

/// A node that knows nobody yet.
pub fn peer<const DOWNLOADS_AT_ONCE: usize, P: Service>() -> Peer<DOWNLOADS_AT_ONCE, P> {
    Node::new(any(Config::default()), AnyStore, SoftCrypto, Entropy)
}

/// Any address.
pub fn address() -> SocketAddr {
    any(SocketAddr::from(([192, 0, 2, 1], 80)))
}

/// One turn of a driver's loop, and of an application's that reads through the API.
pub fn turn<const DOWNLOADS_AT_ONCE: usize, P: Service>(peer: &mut Peer<DOWNLOADS_AT_ONCE, P>, now: Instant) {
    let address = address();
    peer.set_addresses(&[Subnet { address: address.ip(), prefix: unknown() }]);
    let mut buffer = [0; 2_048];
    let mut stream = any(peer.accept(now, address));
    while let Some(output) = peer.poll_output(now, &mut buffer) {
        if let Output::Connect { stream: asked, .. } = &output {
            stream = Some(*asked);
        }
        keep(&output);
    }
    if let Some(stream) = stream {
        let data = any(&buffer[..]);
        let input = match unknown() {
            0 => Input::Datagram { from: address, data },
            1 => Input::Connected { stream },
            2 => Input::Data { stream, data },
            3 => Input::Eof { stream },
            4 => Input::Lost { stream },
            5 => Input::NoSocket { stream },
            _ => Input::Timeout,
        };
        keep(&peer.handle_input(now, input));
        keep(&peer.poll_stream(now, stream, &mut buffer));
    }
    keep(&peer.poll_timeout(now));
    let Ok(content) = peer.open_content(any(ContentTag::default())) else { return };
    keep(&peer.add_content_information(content, any(&buffer[..])));
    keep(&peer.complete_content_information(content));
    keep(&peer.is_ready(content));
    let timeout = Duration::from_millis(unknown_u64());
    keep(&peer.block_read(now, content, unknown_u64(), unknown_u64(), timeout));
    let read = peer.stream_read(now, content, unknown_u64(), timeout);
    if let Some(completion) = peer.poll_completion() {
        keep(&completion);
        keep(&peer.copy_read(completion.read, unknown_u64(), &mut buffer));
    }
    if let Ok(read) = read {
        peer.end_read(read);
    }
    keep(&peer.close_content(content));
}

/// Adds data from the origin.
pub fn add_data<const DOWNLOADS_AT_ONCE: usize, P: Service>(peer: &mut Peer<DOWNLOADS_AT_ONCE, P>) {
    let data = any([0; 2_048]);
    if let Ok(content) = peer.open_content(any(ContentTag::default())) {
        keep(&peer.add_data(content, unknown_u64(), &data));
    }
}

/// Entropy that is none.
pub struct Entropy;

impl TryRng for Entropy {
    type Error = core::convert::Infallible;

    #[inline(never)]
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(unknown_u64() as u32)
    }

    #[inline(never)]
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(unknown_u64())
    }

    #[inline(never)]
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(unknown());
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

/// A store of which core knows nothing but the trait: what a store takes is not core's.
pub struct AnyStore;

impl Store for AnyStore {
    #[inline(never)]
    fn reserve(&mut self, _block: &BlockId, _len: u32) -> Result<SlotId, ReserveError> {
        any(Ok(SlotId { index: 0, generation: 0 }))
    }

    #[inline(never)]
    fn write(&mut self, _slot: SlotId, _offset: u32, _bytes: &[u8]) -> Result<(), StoreError> {
        any(Ok(()))
    }

    #[inline(never)]
    fn read(&mut self, _slot: SlotId, _offset: u32, _buf: &mut [u8]) -> Result<(), StoreError> {
        any(Ok(()))
    }

    #[inline(never)]
    fn commit(&mut self, _verified: Verified) -> Result<(), StoreError> {
        any(Ok(()))
    }

    #[inline(never)]
    fn release(&mut self, slot: SlotId) {
        keep(&slot);
    }

    #[inline(never)]
    fn pin(&mut self, slot: SlotId) {
        keep(&slot);
    }

    #[inline(never)]
    fn unpin(&mut self, slot: SlotId) {
        keep(&slot);
    }

    #[inline(never)]
    fn find(&self, _block: &BlockId) -> Option<Stored> {
        any(None)
    }

    #[inline(never)]
    fn blocks(&self, _segment: &SegmentId) -> u32 {
        unknown().into()
    }

    #[inline(never)]
    fn next_block(&self, _segment: &SegmentId, _index: u32) -> Option<u32> {
        any(None)
    }
}

impl InfoStore for AnyStore {
    #[inline(never)]
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        any(Ok(InfoId(0)))
    }

    #[inline(never)]
    fn append_info(&mut self, _id: InfoId, _bytes: &[u8]) -> Result<(), InfoStoreFull> {
        any(Ok(()))
    }

    #[inline(never)]
    fn info_len(&self, _id: InfoId) -> u64 {
        unknown_u64()
    }

    #[inline(never)]
    fn read_info(&self, _id: InfoId, _offset: u64, _buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        any(Ok(()))
    }

    #[inline(never)]
    fn remove_info(&mut self, id: InfoId) {
        keep(&id);
    }
}
