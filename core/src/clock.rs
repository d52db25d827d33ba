//! The hybrid logical clock: stamps that are close to real time and always move forward.
//!
//! Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks", OPODIS 2014. 48 bits of
//! Unix milliseconds and a 16-bit logical counter that carries into the milliseconds, so one `u64`
//! orders everything.
//!
//! Invariant: [`Clock::tick`] returns a stamp above every stamp it returned or observed before.

use crate::codec::{DecodeError, Reader, Writer};
use thiserror::Error;

/// How far ahead of our own clock a stamp may be, in milliseconds.
pub const DRIFT_MAX_MS: u64 = 5 * 60 * 1000;

/// Wall clocks beyond this (the year 6429) are taken as this, so that stamps can't run out.
const WALL_MAX_MS: u64 = 1 << 47;

/// Milliseconds since 1970-01-01T00:00:00Z by somebody's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This time moved by a signed number of milliseconds, not below zero.
    pub fn shifted(self, offset_ms: i64) -> Self {
        Self(self.0.saturating_add_signed(offset_ms))
    }
}

/// A hybrid logical clock value; [`Timestamp::ZERO`] is before every operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every operation.
    pub const ZERO: Self = Self(0);

    /// A stamp with the given parts; `millis` is cut to 48 bits.
    pub fn new(millis: UnixMillis, counter: u16) -> Self {
        Self(millis.0 << 16 | u64::from(counter))
    }

    /// The wall-clock part.
    pub fn millis(self) -> UnixMillis {
        UnixMillis(self.0 >> 16)
    }

    /// The logical part.
    pub fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next stamp.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A stamp from somebody else that can't be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClockError {
    /// More than [`DRIFT_MAX_MS`] ahead.
    #[error("a stamp is {0} ms ahead, which is more than {DRIFT_MAX_MS} ms")]
    Drift(u64),
}

/// An error when `stamp` is more than [`DRIFT_MAX_MS`] ahead of `wall`.
pub fn check_drift(wall: UnixMillis, stamp: Timestamp) -> Result<(), ClockError> {
    let ahead = stamp.millis().0.saturating_sub(wall.0);
    if ahead > DRIFT_MAX_MS { Err(ClockError::Drift(ahead)) } else { Ok(()) }
}

/// One replica's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clock {
    last: Timestamp,
}

impl Clock {
    /// A clock that goes on after `last`.
    pub fn after(last: Timestamp) -> Self {
        Self { last }
    }

    /// The highest stamp returned or observed.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// A new stamp for something that happens now.
    pub fn tick(&mut self, wall: UnixMillis) -> Timestamp {
        let wall = Timestamp::new(UnixMillis(wall.0.min(WALL_MAX_MS)), 0);
        self.last = self.last.next().max(wall);
        self.last
    }

    /// Takes note of a stamp made by another replica, so that the next tick is above it. The server
    /// has checked it with [`check_drift`] against a clock that can be trusted more than a TV's.
    pub fn observe(&mut self, stamp: Timestamp) {
        self.last = self.last.max(stamp);
    }
}

/// Writes a stamp as the difference of its milliseconds from `last`; the lowest bit says whether a
/// logical counter other than 0 follows.
pub(crate) fn write_stamp(writer: &mut Writer, last: &mut Timestamp, stamp: Timestamp) {
    let difference = stamp.millis().0.wrapping_sub(last.millis().0) as i64;
    let zigzag = ((difference << 1) ^ (difference >> 63)) as u64;
    writer.varint(zigzag << 1 | u64::from(stamp.counter() != 0));
    if stamp.counter() != 0 {
        writer.varint(u64::from(stamp.counter()));
    }
    *last = stamp;
}

/// Reads what [`write_stamp`] wrote.
pub(crate) fn read_stamp(
    reader: &mut Reader,
    last: &mut Timestamp,
) -> Result<Timestamp, DecodeError> {
    let word = reader.varint()?;
    let zigzag = word >> 1;
    let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    let millis = last.millis().0.wrapping_add(difference as u64);
    let counter = if word & 1 == 1 { reader.varint()? } else { 0 };
    let padded = word & 1 == 1 && counter == 0;
    if millis >= 1 << 48 || counter > u64::from(u16::MAX) || padded {
        return Err(DecodeError::invalid("stamp"));
    }
    *last = Timestamp::new(UnixMillis(millis), counter as u16);
    Ok(*last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_ascend_whatever_the_wall_clock_does(walls: Vec<u64>) {
            let mut clock = Clock::default();
            let mut last = Timestamp::ZERO;
            for wall in walls {
                let stamp = clock.tick(UnixMillis(wall));
                prop_assert!(stamp > last);
                last = stamp;
            }
        }
    }

    #[test]
    fn the_counter_carries_into_the_milliseconds() {
        let mut clock = Clock::after(Timestamp::new(UnixMillis(10), u16::MAX));
        assert_eq!(clock.tick(UnixMillis(10)), Timestamp::new(UnixMillis(11), 0));
    }

    #[test]
    fn a_wall_clock_far_beyond_leaves_stamps_for_ever() {
        let mut clock = Clock::default();
        let stamp = clock.tick(UnixMillis(u64::MAX));
        assert_eq!(stamp.millis(), UnixMillis(WALL_MAX_MS));
        assert_eq!(UnixMillis(5).shifted(-6), UnixMillis(0), "nor does one before 1970");
    }

    #[test]
    fn the_drift_bound_has_an_edge() {
        let wall = UnixMillis(1_000_000);
        let edge = Timestamp::new(UnixMillis(wall.0 + DRIFT_MAX_MS), u16::MAX);
        assert_eq!(check_drift(wall, edge.next()), Err(ClockError::Drift(DRIFT_MAX_MS + 1)));
        assert_eq!(check_drift(wall, edge), Ok(()));
    }

    #[test]
    fn a_tick_is_above_what_was_observed() {
        let mut clock = Clock::default();
        let seen = Timestamp::new(UnixMillis(9_000_000), 3);
        clock.observe(seen);
        clock.observe(Timestamp::ZERO);
        assert_eq!(clock.tick(UnixMillis(5)), seen.next());
    }
}
