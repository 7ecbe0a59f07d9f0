//! Pieces of memory that was given for ever.

use core::mem::MaybeUninit;

/// What is left of it.
pub(super) struct Memory {
    at: *mut u8,
    left: usize,
}

impl Memory {
    /// # Safety
    /// There are so many bytes, for ever, and nobody else uses them.
    pub(super) unsafe fn new(at: *mut u8, left: usize) -> Self {
        Self { at, left }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Room for a value; `None` if there is not enough.
    pub(super) fn room<T>(&mut self) -> Option<&'static mut MaybeUninit<T>> {
        let at = self.take(size_of::<T>(), align_of::<T>())?.cast::<MaybeUninit<T>>();
        // SAFETY: `take` gives so many bytes, aligned like this, to nobody else; what is in them does not matter.
        Some(unsafe { &mut *at })
    }

    /// So many of a value; `None` if there is not enough room.
    pub(super) fn slice<T>(&mut self, len: usize, value: impl Fn() -> T) -> Option<&'static mut [T]> {
        let at = self.take(size_of::<T>().checked_mul(len)?, align_of::<T>())?.cast::<T>();
        for index in 0..len {
            // SAFETY: it lies within what `take` has given, which is aligned like this.
            unsafe { at.add(index).write(value()) };
        }
        // SAFETY: all of them were written, and nobody else has them.
        Some(unsafe { core::slice::from_raw_parts_mut(at, len) })
    }

    fn take(&mut self, bytes: usize, align: usize) -> Option<*mut u8> {
        let skip = self.at.align_offset(align);
        let taken = skip.checked_add(bytes).filter(|taken| *taken <= self.left)?;
        // SAFETY: there are at least so many bytes.
        let (at, rest) = unsafe { (self.at.add(skip), self.at.add(taken)) };
        (self.at, self.left) = (rest, self.left - taken);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_apart() {
        let bytes: &'static mut [u8] = Box::leak(Box::new([0; 100]));
        // SAFETY: they were leaked, and are used here only.
        let mut memory = unsafe { Memory::new(bytes.as_mut_ptr(), bytes.len()) };
        let one = memory.slice(3, || 7u8).unwrap();
        let two = memory.room::<u64>().unwrap().write(u64::MAX);
        let three = memory.slice(2, || 5u32).unwrap();
        assert_eq!((&one[..], *two, &three[..]), (&[7, 7, 7][..], u64::MAX, &[5, 5][..]));
        assert!(memory.left() < 100 - 3 - 8 - 8 + 1);
        assert!(memory.slice(memory.left() + 1, || 0u8).is_none());
        assert!(memory.slice(usize::MAX, || 0u64).is_none());
        assert!(memory.slice(memory.left(), || 0u8).is_some());
        assert!(memory.room::<u8>().is_none());
    }
}
