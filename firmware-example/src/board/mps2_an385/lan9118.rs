//! A driver for the LAN9118, the board's Ethernet.
//!
//! Frames are read from and written to its two queues word by word. Its interrupt only ends the sleep
//! of the main loop, which does all the work.

use core::ptr;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::clock;
use crate::stack::Link;

/// Its interrupt.
pub const IRQ: i16 = 13;

/// Bytes of an Ethernet frame without its check sequence.
const FRAME_BYTES: usize = 1_514;
const FRAME_WORDS: usize = FRAME_BYTES.div_ceil(4);

/// Bytes of the check sequence, which the card leaves at the end of what it received.
const CHECK_BYTES: usize = 4;

/// Full frames that its queue of received frames holds in QEMU: 10,560 bytes. What comes on top is
/// lost, and is not counted.
const BURST_FRAMES: usize = 6;

/// How often a register is read for a bit to change, before the card is given up.
const PATIENCE: u32 = 100_000;

/// How often the cable is looked at.
const LINK_EVERY: peerdist_core::time::Duration = peerdist_core::time::Duration::from_millis(250);

const BASE: usize = 0x4020_0000;

/// The card's registers, by their offsets.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    RxData = 0x00,
    TxData = 0x20,
    RxStatus = 0x40,
    TxStatus = 0x48,
    IrqConfig = 0x54,
    InterruptStatus = 0x58,
    InterruptEnable = 0x5c,
    ByteTest = 0x64,
    FifoLevels = 0x68,
    RxConfig = 0x6c,
    TxConfig = 0x70,
    HardwareConfig = 0x74,
    RxControl = 0x78,
    RxInfo = 0x7c,
    TxInfo = 0x80,
    MacCommand = 0xa4,
    MacData = 0xa8,
}

use Register::*;

/// What [`ByteTest`] reads.
const BYTE_ORDER: u32 = 0x8765_4321;

/// Of [`HardwareConfig`]: begins a reset; must be one; 5 KiB of the memory are for sending.
const SOFT_RESET: u32 = 1;
const MUST_BE_ONE: u32 = 1 << 20;
const TX_5_KIB: u32 = 5 << 16;

/// Of [`IrqConfig`]: the line is driven, and high when there is an interrupt.
const IRQ_ENABLED_PUSH_PULL_HIGH: u32 = 1 << 8 | 1 << 4 | 1;

/// Of [`InterruptStatus`] and [`InterruptEnable`]: frames were received.
const RECEIVED: u32 = 1 << 3;

/// Of [`TxConfig`]: transmitter on; statuses that nobody reads are overwritten.
const TX_ON: u32 = 1 << 1;
const TX_STATUS_OVERRUN: u32 = 1 << 2;

/// Of [`RxControl`]: drops the rest of a frame.
const FAST_FORWARD: u32 = 1 << 31;

/// Of a word of [`RxStatus`]: the frame is damaged.
const RX_ERROR: u32 = 1 << 15;

/// Of a word in front of a frame to be sent: it is the first piece, and the last.
const WHOLE: u32 = 1 << 13 | 1 << 12;

/// Of [`MacCommand`]: busy; it is to be read.
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;

/// Registers of the MAC, behind [`MacCommand`].
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;

/// The register by which those of the transceiver are reached: which one of the one that is inside, busy.
const MAC_MII_ACCESS: u32 = 6;
const MAC_MII_DATA: u32 = 7;
const MII_INTERNAL: u32 = 1 << 11;
const MII_BUSY: u32 = 1;

/// The transceiver's status, and its bit for a link.
const MII_STATUS: u32 = 1;
const MII_LINK: u32 = 1 << 2;

/// Of [`MAC_CONTROL`]: full duplex; all multicast passes, of which the stack takes what it joined;
/// transmitter and receiver on.
const FULL_DUPLEX: u32 = 1 << 20;
const PASS_MULTICAST: u32 = 1 << 19;
const MAC_TX_ON: u32 = 1 << 3;
const MAC_RX_ON: u32 = 1 << 2;

/// Why there is no network.
#[derive(Clone, Copy, Debug)]
pub enum CardError {
    /// There is no LAN9118 at its address.
    Absent,
    /// It does not come out of a reset, or does not answer.
    Silent,
}

/// The card, ready.
pub struct Lan9118 {
    address: [u8; 6],
    /// Whether its cable was in when it was asked last, and when it is asked next.
    link: bool,
    ask_at: peerdist_core::time::Instant,
    incoming: [u8; FRAME_WORDS * 4],
    outgoing: [u8; FRAME_WORDS * 4],
}

impl Lan9118 {
    /// Resets the card and sets it up. Its address is the one that it has from its memory.
    pub fn start() -> Result<Self, CardError> {
        if read(ByteTest) != BYTE_ORDER {
            return Err(CardError::Absent);
        }
        write(HardwareConfig, SOFT_RESET);
        wait(HardwareConfig, SOFT_RESET)?;
        write(HardwareConfig, MUST_BE_ONE | TX_5_KIB);
        let low = read_mac(MAC_ADDRESS_LOW)?.to_le_bytes();
        let high = read_mac(MAC_ADDRESS_HIGH)?.to_le_bytes();
        let address = [low[0], low[1], low[2], low[3], high[0], high[1]];

        write(InterruptEnable, 0);
        write(InterruptStatus, u32::MAX);
        // An interrupt for any number of frames above none.
        write(FifoLevels, 0);
        write(IrqConfig, IRQ_ENABLED_PUSH_PULL_HIGH);
        write(RxConfig, 0);
        write(TxConfig, TX_ON | TX_STATUS_OVERRUN);
        write_mac(MAC_CONTROL, FULL_DUPLEX | PASS_MULTICAST | MAC_TX_ON | MAC_RX_ON)?;
        // SAFETY: the handler of this interrupt shares no state with what it interrupts.
        unsafe { NVIC::unmask(Line(IRQ.unsigned_abs())) };
        let ask_at = peerdist_core::time::Instant::ZERO;
        Ok(Self {
            address,
            link: true,
            ask_at,
            incoming: [0; FRAME_WORDS * 4],
            outgoing: [0; FRAME_WORDS * 4],
        })
    }

    /// Its Ethernet address.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Has its interrupt come when a frame does.
    pub fn listen(&mut self) {
        write(InterruptStatus, RECEIVED);
        write(InterruptEnable, RECEIVED);
    }

    /// Whether a frame waits.
    pub fn has_frame(&self) -> bool {
        read(RxInfo) >> 16 & 0xff != 0
    }

    /// Reads the next frame, and returns how many bytes it has; a damaged one is dropped.
    fn take_frame(&mut self) -> Option<usize> {
        while self.has_frame() {
            let status = read(RxStatus);
            let stored = (status >> 16 & 0x3fff) as usize;
            let len = stored.saturating_sub(CHECK_BYTES);
            if status & RX_ERROR != 0 || len > FRAME_BYTES {
                discard(stored);
                continue;
            }
            let words = stored.div_ceil(4);
            for word in self.incoming.chunks_exact_mut(4).take(words) {
                word.copy_from_slice(&read(RxData).to_le_bytes());
            }
            // Of the longest frame, the check sequence has a word of its own.
            (FRAME_WORDS..words).for_each(|_| _ = read(RxData));
            return Some(len);
        }
        None
    }
}

/// Holds its interrupt back until somebody listens again: the handler's part.
pub(super) fn hush() {
    write(InterruptEnable, 0);
}

/// An interrupt by its number, as there is no crate for this board.
#[derive(Clone, Copy)]
pub(super) struct Line(pub(super) u16);

// SAFETY: the number is the same whenever it is asked for; the processor has 240 of them, and QEMU's
// vector table has an entry for each.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        self.0
    }
}

/// A frame that has come.
pub struct Incoming<'c>(&'c [u8]);

/// Room for a frame to be sent.
pub struct Outgoing<'c>(&'c mut [u8]);

impl Device for Lan9118 {
    type RxToken<'c> = Incoming<'c>;
    type TxToken<'c> = Outgoing<'c>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        if !has_room() {
            return None;
        }
        let len = self.take_frame()?;
        let Self { incoming, outgoing, .. } = self;
        Some((Incoming(incoming.get(..len)?), Outgoing(outgoing)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        has_room().then_some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities.max_burst_size = Some(BURST_FRAMES);
        capabilities
    }
}

impl Link for Lan9118 {
    fn is_up(&mut self) -> bool {
        let now = clock::now();
        if self.ask_at <= now {
            self.ask_at = now + LINK_EVERY;
            // A card that does not answer has lost it.
            self.link = read_mii(MII_STATUS).is_ok_and(|status| status & MII_LINK != 0);
        }
        self.link
    }
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        // smoltcp keeps to the size that the capabilities tell.
        let len = len.min(FRAME_BYTES);
        let result = fill(self.0.get_mut(..len).unwrap_or_default());
        write(TxData, WHOLE | len as u32);
        write(TxData, len as u32);
        for word in self.0.as_chunks::<4>().0.iter().take(len.div_ceil(4)) {
            write(TxData, u32::from_le_bytes(*word));
        }
        result
    }
}

/// Whether a full frame and the words in front of it can be sent.
fn has_room() -> bool {
    // What became of earlier frames is not asked, but takes room.
    while read(TxInfo) >> 16 & 0xff != 0 {
        read(TxStatus);
    }
    (read(TxInfo) & 0xffff) as usize >= FRAME_WORDS * 4 + 8
}

/// Drops a frame that takes so many bytes in the queue.
fn discard(stored: usize) {
    let words = stored.div_ceil(4);
    // The card drops no frame of less than four words by itself.
    if words < 4 {
        (0..words).for_each(|_| _ = read(RxData));
        return;
    }
    write(RxControl, FAST_FORWARD);
    // A card that does not end this has no frame either.
    let _ = wait(RxControl, FAST_FORWARD);
}

fn read_mac(register: u32) -> Result<u32, CardError> {
    wait(MacCommand, MAC_BUSY)?;
    write(MacCommand, MAC_BUSY | MAC_READ | register);
    wait(MacCommand, MAC_BUSY)?;
    Ok(read(MacData))
}

fn read_mii(register: u32) -> Result<u32, CardError> {
    write_mac(MAC_MII_ACCESS, MII_INTERNAL | register << 6 | MII_BUSY)?;
    for _ in 0..PATIENCE {
        if read_mac(MAC_MII_ACCESS)? & MII_BUSY == 0 {
            return read_mac(MAC_MII_DATA);
        }
    }
    Err(CardError::Silent)
}

fn write_mac(register: u32, value: u32) -> Result<(), CardError> {
    wait(MacCommand, MAC_BUSY)?;
    write(MacData, value);
    write(MacCommand, MAC_BUSY | register);
    wait(MacCommand, MAC_BUSY)
}

/// Waits until none of `bits` is set.
fn wait(register: Register, bits: u32) -> Result<(), CardError> {
    let ended = (0..PATIENCE).any(|_| read(register) & bits == 0);
    if ended { Ok(()) } else { Err(CardError::Silent) }
}

fn read(register: Register) -> u32 {
    // SAFETY: a register of the card, word by word; reading takes nothing but the card's own state,
    // which is this driver's.
    unsafe { ptr::read_volatile((BASE + register as usize) as *const u32) }
}

fn write(register: Register, value: u32) {
    // SAFETY: a register of the card, word by word; the card reads and writes no memory.
    unsafe { ptr::write_volatile((BASE + register as usize) as *mut u32, value) }
}
