//! How often a machine was started: a number that grows over resets and losses of power.
//!
//! A sector is filled with one structure after another, each a number with a checksum; then the next sector is
//! erased and begun. The one before it has the latest number for as long as that takes.
//!
//! Why not sequential-storage 8: what a flash has on it when it is new, it takes for its own and writes over,
//! and after some kinds of damage it does not find again what it stores.

use core::fmt;

use embedded_storage::nor_flash::NorFlash;

use super::device::Device;
use super::layout::{STRUCT_BYTES, Start, Words};

/// The flash cannot keep a number: it has less than two sectors, or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncountable;

/// Counts a start on a flash that is there for nothing else, and returns how many there were, this one among
/// them. The number outlives a loss of power at any time, and damage but for that of the latest start; what is
/// on the flash else is taken for an erased one, on which it begins at 1.
///
/// It is what `peerdist_core::node::Config::instance_id` wants on a machine without a clock.
pub fn count_start<F: NorFlash>(flash: F) -> Result<u32, Uncountable> {
    let mut device = Device::new(flash).ok_or(Uncountable)?;
    // As if the last sector were full.
    let (mut latest, mut sector, mut free) = (0, device.sectors().saturating_sub(1), Device::<F>::ERASE);
    for at in 0..device.sectors() {
        let (number, end) = survey(&mut device, at);
        if number > latest {
            (latest, sector, free) = (number, at, end);
        }
    }
    if free >= Device::<F>::ERASE {
        (sector, free) = (device.after(sector, 1), 0);
        device.erase(sector).map_err(|_| Uncountable)?;
    }
    let number = latest.saturating_add(1);
    let address = sector.saturating_mul(Device::<F>::ERASE).saturating_add(free);
    device.write(address, Start { number }.emit().as_flattened()).map_err(|_| Uncountable)?;
    Ok(number)
}

/// The latest number in a sector, 0 without any; and where the next structure can be written there: at its
/// end where it is not known to have been erased whole, which is what its first structure says.
fn survey<F: NorFlash>(device: &mut Device<F>, sector: u32) -> (u32, u32) {
    let (mut latest, mut free, mut whole) = (0, 0, false);
    for at in (0..Device::<F>::ERASE).step_by(STRUCT_BYTES) {
        let mut words: Words = [[0; 4]; _];
        let address = sector.saturating_mul(Device::<F>::ERASE).saturating_add(at);
        let read = device.read(address, words.as_flattened_mut()).is_ok();
        if read && words.as_flattened().iter().all(|byte| *byte == 0xff) {
            continue;
        }
        free = at.saturating_add(STRUCT_BYTES as u32);
        if let Some(start) = Start::parse(&words).filter(|_| read) {
            latest = latest.max(start.number);
            whole |= at == 0;
        }
    }
    (latest, if whole { free } else { Device::<F>::ERASE })
}

impl fmt::Display for Uncountable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the flash cannot keep a number")
    }
}

impl core::error::Error for Uncountable {}
