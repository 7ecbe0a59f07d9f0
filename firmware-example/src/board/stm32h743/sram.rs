//! Memory for the buffers of the streams: SRAM1 to SRAM3, whose clocks are off after a reset.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_stm32::pac::RCC;

use super::{RECEIVE_BYTES, SEND_BYTES};
use crate::app::STREAMS;

/// Of each stream, for what comes and for what goes.
type Buffers = [([u8; RECEIVE_BYTES], [u8; SEND_BYTES]); STREAMS];

/// Memory that a start does not fill, since it cannot.
#[unsafe(link_section = ".sram")]
static mut BUFFERS: MaybeUninit<Buffers> = MaybeUninit::uninit();

/// Them; `None` the second time.
pub fn take() -> Option<&'static mut Buffers> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    RCC.ahb2enr().modify(|w| {
        w.set_sram1en(true);
        w.set_sram2en(true);
        w.set_sram3en(true);
    });
    // What is read shows that the clocks run.
    let _ = RCC.ahb2enr().read();
    let buffers = &raw mut BUFFERS;
    // SAFETY: it is given away once, and nobody else names it. Zeros are bytes, and filling it word by word gives
    // its ECC something to go by; nothing was read of it before.
    unsafe {
        buffers.write_bytes(0, 1);
        Some((*buffers).assume_init_mut())
    }
}
