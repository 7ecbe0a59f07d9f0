//! Handles: a kind, an index and a generation in a word that is never 0. What is stale, made up or of
//! another kind is not found.

use crate::types::HANDLE;

/// What a handle stands for, so that one of another kind is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Instance = 1,
    Stream,
    Info,
    Content,
    Event,
    Queue,
}

const KIND_BITS: u32 = 4;
const INDEX_BITS: u32 = 10;
const GENERATION_SHIFT: u32 = KIND_BITS + INDEX_BITS;

/// Rows that a table can have.
const MOST_ROWS: usize = 1 << INDEX_BITS;

/// A table of things of one kind.
pub(crate) struct Table<T, const ROWS: usize> {
    kind: Kind,
    rows: [Row<T>; ROWS],
}

struct Row<T> {
    generation: usize,
    value: Option<T>,
}

impl<T, const ROWS: usize> Table<T, ROWS> {
    const FITS: () = assert!(ROWS <= MOST_ROWS, "an index has too few bits");

    pub(crate) const fn new(kind: Kind) -> Self {
        const { Self::FITS };
        Self { kind, rows: [const { Row { generation: 0, value: None } }; ROWS] }
    }

    /// One that takes the place of others, the latest generation of which is known.
    pub(crate) fn after(kind: Kind, generation: usize) -> Self {
        let mut table = Self::new(kind);
        for row in &mut table.rows {
            row.generation = generation;
        }
        table
    }

    /// The latest generation.
    #[cfg(feature = "std")]
    pub(crate) fn generation(&self) -> usize {
        self.rows.iter().map(|row| row.generation).max().unwrap_or(0)
    }

    /// Keeps `value`; `None` if the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<HANDLE> {
        let (index, row) = self.rows.iter_mut().enumerate().find(|(_, row)| row.value.is_none())?;
        row.generation = row.generation.wrapping_add(1) & (usize::MAX >> GENERATION_SHIFT);
        row.value = Some(value);
        Some(handle(self.kind, index, row.generation))
    }

    pub(crate) fn get(&self, handle: HANDLE) -> Option<&T> {
        self.rows.get(self.index(handle)?)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, handle: HANDLE) -> Option<&mut T> {
        let index = self.index(handle)?;
        self.rows.get_mut(index)?.value.as_mut()
    }

    pub(crate) fn remove(&mut self, handle: HANDLE) -> Option<T> {
        let index = self.index(handle)?;
        self.rows.get_mut(index)?.value.take()
    }

    /// All that is in it, each with its handle.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (HANDLE, &T)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(index, row)| Some((handle(self.kind, index, row.generation), row.value.as_ref()?)))
    }

    fn index(&self, wanted: HANDLE) -> Option<usize> {
        let index = (wanted.addr() >> KIND_BITS) % MOST_ROWS;
        let row = self.rows.get(index)?;
        (handle(self.kind, index, row.generation) == wanted).then_some(index)
    }
}

fn handle(kind: Kind, index: usize, generation: usize) -> HANDLE {
    let word = generation << GENERATION_SHIFT | index << KIND_BITS | kind as usize;
    core::ptr::without_provenance_mut(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_found() {
        let mut events = Table::<u8, 2>::new(Kind::Event);
        let (one, two) = (events.insert(1).unwrap(), events.insert(2).unwrap());
        assert_eq!(events.insert(3), None);
        assert!(!one.is_null() && one != two);
        assert_eq!((events.get(one).copied(), events.get_mut(two).copied()), (Some(1), Some(2)));
        assert_eq!(events.remove(one), Some(1));
        assert_eq!((events.get(one).copied(), events.remove(one)), (None, None));
        let three = events.insert(3).unwrap();
        assert!(three != one && events.get(one).is_none(), "the same row, another generation");
        assert_eq!(
            events.iter().map(|(handle, value)| (handle, *value)).collect::<Vec<_>>(),
            [(three, 3), (two, 2)]
        );

        let mut queues = Table::<u8, 2>::new(Kind::Queue);
        let queue = queues.insert(9).unwrap();
        assert_eq!((queues.get(three), events.get(queue)), (None, None));
        for made_up in [0, 1, usize::MAX, three.addr() ^ 1 << 14] {
            assert_eq!(events.get(core::ptr::without_provenance_mut(made_up)), None);
        }
    }

    #[test]
    fn generations_run_out_and_begin_anew() {
        let mut table = Table::<u8, 1>::new(Kind::Event);
        table.rows[0].generation = usize::MAX >> GENERATION_SHIFT;
        let handle = table.insert(1).unwrap();
        assert!(!handle.is_null());
        assert_eq!(table.get(handle), Some(&1));
    }
}
