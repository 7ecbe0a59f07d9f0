//! Content information that clients send is held against its own hash of hashes.

use super::offers::{Offer, Stage, row};
use super::{Server, bump, remove};
use crate::content::{HodCheck, Info, InfoError, Progress, Segment};
use crate::crypto::Crypto;
use crate::store::{InfoStore, InfoView};

/// Block hashes checked against a segment's HoD in one call.
const HOD_STEP: u32 = 64;

impl Server<'_> {
    /// Looks at content information that has come, some block hashes of it at a time; whether there is more to
    /// look at.
    pub fn check(&mut self, infos: &mut dyn InfoStore, crypto: &mut dyn Crypto) -> bool {
        let fresh = |row: &Offer| row.offered.as_ref().is_some_and(|offered| offered.stage == Stage::Fresh);
        let Some(index) = self.offers.iter().position(fresh) else { return false };
        match self.step(index, infos, crypto) {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => self.state.checking = None,
            Err(_) => {
                self.state.checking = None;
                bump(&mut self.state.counters.lies);
                let row = self.offers.get_mut(index).and_then(|row| row.offered.take());
                remove(infos, row.and_then(|offered| offered.info()));
            }
        }
        true
    }

    fn step(
        &mut self,
        index: usize,
        infos: &mut dyn InfoStore,
        crypto: &mut dyn Crypto,
    ) -> Result<Progress, InfoError> {
        let Some(offered) = row(self.offers, index) else {
            return Ok(Progress::Done);
        };
        let Some(id) = offered.info() else { return Ok(Progress::Done) };
        let source = InfoView { store: &*infos, id };
        if self.state.checking.as_ref().is_none_or(|(checking, _)| *checking != index) {
            let segment = segment(&source)?;
            // MS-PCCRC 2.2: MUST match, and of a list that leaves some out, that cannot be told.
            let check = HodCheck::new(crypto, &segment)?;
            self.state.checking = Some((index, check));
        }
        let Some((_, check)) = &mut self.state.checking else { return Ok(Progress::Done) };
        if check.step(&source, crypto, HOD_STEP)? == Progress::More {
            return Ok(Progress::More);
        }
        let (client, others, moved) = (offered.client, offered.others.clone(), offered.moved);
        let segment = segment(&source)?.id(crypto);
        let known = self.offers.iter_mut().filter_map(|row| row.offered.as_mut()).find(|offered| {
            offered.segment == Some(segment) && offered.info().is_some() && offered.stage != Stage::Over
        });
        if let Some(known) = known {
            known.also(moved, client);
            others.iter().for_each(|other| known.also(moved, *other));
            infos.remove_info(id);
            self.offers.get_mut(index).into_iter().for_each(Offer::clear);
        } else if let Some(offered) = row(self.offers, index) {
            (offered.segment, offered.stage) = (Some(segment), Stage::Wanted);
        }
        Ok(Progress::Done)
    }
}

/// The one segment that content information describes.
fn segment(source: &InfoView<'_, dyn InfoStore + '_>) -> Result<Segment, InfoError> {
    Info::parse(source)?.segment(source, 0)
}
