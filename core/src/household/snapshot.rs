//! A household as bytes: what is different since a version, and whole, as the difference from
//! nothing. Equal states have equal bytes.

use super::difference::Difference;
use super::history::{Key, Touched};
use super::{
    DEVICES_MAX, ENTRIES_MAX, Household, PROFILES_EVER_MAX, PROFILES_MAX, Profile, REPLICAS_MAX,
};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::ProfileId;
use crate::operation::{Changed, OBSERVED_MAX};

/// Version of these bytes; a newer one is refused, never guessed at.
pub const STATE_VERSION: u8 = 1;

/// Longest difference in bytes; a whole state at all its limits is shorter.
pub const DIFFERENCE_BYTES_MAX: usize = 512 * 1024;
/// Keys that one difference may replace; a sender with more sends the whole state.
pub const TOUCHED_MAX: usize = ENTRIES_MAX;
impl Household {
    /// Appends the state, its version first.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(STATE_VERSION);
        if self.seen.is_empty() && self.deleted.is_empty() && self.profiles.len() == 1 {
            // The difference between nothing and nothing, as a fresh device stores it.
            return writer.bytes(&[]);
        }
        self.encode_whole(writer);
    }

    /// Apart, so that a fresh device's engine need not compile it before the first screen.
    #[inline(never)]
    fn encode_whole(&self, writer: &mut Writer) {
        writer.bytes(&Difference::whole(self).into_bytes(self));
    }

    /// Reads what [`Household::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            STATE_VERSION => {}
            other => return Err(DecodeError::version(other)),
        }
        let mut household = Self::default();
        household.apply_difference(reader)?;
        Ok(household)
    }
}

impl Household {
    /// Every key that has a value.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let shelf = |(&id, profile): (&ProfileId, &Profile)| {
            let name = profile.name.iter().map(move |_| Key::Name(id));
            let watchlist = profile.watchlist.iter();
            let watchlist = watchlist.map(move |(content, _)| Key::Watchlist(id, content.clone()));
            let progress = profile.progress.iter();
            let progress = progress.map(move |(content, _)| Key::Progress(id, content.clone()));
            name.chain(watchlist).chain(progress).collect::<Vec<Key>>()
        };
        let replicas = self.seen.iter().map(|(id, _)| Key::Replica(id));
        replicas
            .chain(self.deleted.iter().map(|id| Key::Deleted(*id)))
            .chain(self.profiles.iter().flat_map(shelf))
            .chain(self.devices.iter().map(|(id, _)| Key::Device(id.clone())))
    }

    /// Appends the present values of the touched keys, for a receiver who has all others.
    pub fn encode_difference(&self, writer: &mut Writer, touched: &Touched) {
        let count = touched.len();
        let touched = touched.iter().map(|(key, touch)| (key.clone(), *touch));
        writer.bytes(&Difference::of(self, touched, count).into_bytes(self));
    }

    /// Replaces the keys of a difference; an error changes nothing.
    pub fn apply_difference(&mut self, reader: &mut Reader) -> Result<Changed, DecodeError> {
        let bytes = reader.bytes(DIFFERENCE_BYTES_MAX, "DIFFERENCE_BYTES_MAX")?;
        let difference = Difference::from_bytes(bytes, self)?;
        let mut next = self.clone();
        let changed = difference.apply(&mut next)?;
        *self = next;
        Ok(changed)
    }
}

impl Household {
    /// An error when this state could not be read again.
    pub fn check_limits(&self) -> Result<(), DecodeError> {
        let adds = |p: &Profile| p.watchlist.iter().map(|(_, live)| live.len()).max();
        let most_adds = self.profiles.values().filter_map(adds).max().unwrap_or(0);
        let limits = [
            (self.seen.len(), REPLICAS_MAX, "REPLICAS_MAX"),
            (self.deleted.len(), PROFILES_EVER_MAX, "PROFILES_EVER_MAX"),
            (self.profiles.len(), PROFILES_MAX, "PROFILES_MAX"),
            (self.entries(), ENTRIES_MAX, "ENTRIES_MAX"),
            (most_adds, OBSERVED_MAX, "OBSERVED_MAX"),
            (self.devices.len(), DEVICES_MAX, "DEVICES_MAX"),
        ];
        match limits.iter().find(|(count, max, _)| count > max) {
            Some((_, _, name)) => Err(DecodeError::limit(name)),
            None => Ok(()),
        }
    }
}
