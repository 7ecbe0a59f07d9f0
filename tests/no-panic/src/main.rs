//! A proof by linking: no codec and no machine of peerdist-core can panic.
//!
//! The panic handler below calls a function that exists nowhere. If the optimiser can show that
//! no code path panics, the handler is dead code and this program links. If one panic path is
//! left, the linker stops at the undefined symbol. `cargo xtask no-panic` links it twice: as it
//! is, which must work, and with the feature `control`, which adds one index out of bounds and
//! must fail, so that we know the proof can fail. The program is never run.
//!
//! The codecs and machines are listed in [`codecs::ALL`].
#![no_std]
#![no_main]

mod api;
mod codecs;
mod hosted;
mod machines;
mod offering;

use core::hint::black_box;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr;

use peerdist_core::crypto::{CipherAlgorithm, Seal};

/// More than any format's fixed part, so that no length check folds away.
const INPUT_BYTES: usize = 1_024;
const OUTPUT_BYTES: usize = 1_024;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_path_is_left_in_a_codec_see_tests_no_panic() -> !;
    }
    // SAFETY: never called, since a program with this call in it does not link.
    unsafe { a_panic_path_is_left_in_a_codec_see_tests_no_panic() }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let (mut input, mut output) = ([0; INPUT_BYTES], [0; OUTPUT_BYTES]);
    loop {
        for codec in codecs::ALL {
            codec(unknown_bytes(&mut input), unknown_bytes(&mut output));
        }
    }
}

/// Fills `buf` with bytes of which the optimiser knows nothing, and cuts it to a length of which
/// it knows nothing either.
#[inline(never)]
fn unknown_bytes(buf: &mut [u8]) -> &mut [u8] {
    for byte in buf.iter_mut() {
        *byte = unknown();
    }
    let len = usize::from(unknown()) << 8 | usize::from(unknown());
    buf.get_mut(..len).unwrap_or_default()
}

/// A byte of which the optimiser knows nothing.
pub(crate) fn unknown() -> u8 {
    static MEMORY: u8 = 0;
    // SAFETY: a valid, aligned and initialised byte. Volatile: the optimiser may not assume that
    // it reads what stands above.
    unsafe { ptr::read_volatile(&raw const MEMORY) }
}

/// Any number.
pub(crate) fn unknown_u32() -> u32 {
    u32::from_le_bytes(unknown_array())
}

/// Any number.
pub(crate) fn unknown_u64() -> u64 {
    u64::from_le_bytes(unknown_array())
}

/// Any bytes.
pub(crate) fn unknown_array<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| unknown())
}

/// Any cipher and any IV.
pub(crate) fn unknown_seal() -> Seal {
    let algorithm = match unknown() {
        0 => CipherAlgorithm::None,
        1 => CipherAlgorithm::Aes128,
        2 => CipherAlgorithm::Aes192,
        _ => CipherAlgorithm::Aes256,
    };
    Seal { algorithm, iv: unknown_array() }
}

/// Makes the optimiser forget what it knows about the content of `value`, other than its type:
/// whatever calls in whatever order have left there.
pub(crate) fn forget<T>(value: &mut T) -> &mut T {
    black_box(value)
}

/// Makes the optimiser believe that `value` is used, down to its last byte.
pub(crate) fn keep<T>(value: T) {
    let value = MaybeUninit::new(value);
    let mut at = value.as_ptr().cast::<MaybeUninit<u8>>();
    for _ in 0..size_of::<T>() {
        // SAFETY: within `value`, byte by byte; MaybeUninit since padding is not initialised.
        unsafe {
            ptr::read_volatile(at);
            at = at.add(1);
        }
    }
}
