//! Names of things: each its own type, parsed once at the border, and the random bits they come from.

use crate::codec::{DecodeError, Reader, Writer, checksum};
use std::sync::Arc;
use thiserror::Error;

/// Longest content id in bytes.
pub const CONTENT_ID_BYTES_MAX: usize = 64;
/// Longest household or device id in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 64;
/// Digits of a content id that count as a number; what is before them belongs to the prefix.
const NUMBER_DIGITS_MAX: usize = 15;

/// A text that can't be the id it was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} must be 1 to 64 bytes of text without control characters (a profile: 16 hex digits)")]
pub struct IdError(pub &'static str);

/// Whether a control character is in a text. In UTF-8 those beyond ASCII are 0xC2 and up to 0x9F.
fn has_control(text: &str) -> bool {
    let mut before = 0;
    text.bytes().any(|byte| {
        let led = core::mem::replace(&mut before, byte) == 0xc2;
        byte < 0x20 || byte == 0x7f || led && byte < 0xa0
    })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks length and characters.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let fits = !text.is_empty() && text.len() <= $max && !has_control(text);
                if fits { Ok(Self(text.into())) } else { Err(IdError($what)) }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A title in the app's catalogue, for instance `tmdb:550`. We never look inside.
    ContentId, "a content id", CONTENT_ID_BYTES_MAX
);
text_id!(
    /// The tenant: unit of sharing, storage, authorization and privacy.
    HouseholdId, "a household id", TENANT_ID_BYTES_MAX
);
text_id!(
    /// A physical TV, phone or tablet, named by its token.
    DeviceId, "a device id", TENANT_ID_BYTES_MAX
);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

random_id!(
    /// One installed copy of a household; random, new after a reinstall, never reused.
    ReplicaId
);
random_id!(
    /// One life of a household's database; a restored backup begins another.
    EpochId
);

impl EpochId {
    /// Tells this epoch from another one of the same household: its low half.
    pub fn mark(self) -> u32 {
        self.0 as u32
    }
}

impl HouseholdId {
    /// Tells this household from another one that a storage may belong to.
    pub fn mark(&self) -> u32 {
        checksum(self.0.as_bytes())
    }
}

/// A person's shelf within a household. Random and never reused; [`ProfileId::DEFAULT`] always exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProfileId(pub u64);

impl ProfileId {
    /// The profile of households that do not use profiles: the empty text.
    pub const DEFAULT: Self = Self(0);

    /// Reads the empty text or 16 hex digits.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Ok(Self::DEFAULT);
        }
        let digit = |id, byte| Some(id << 4 | u64::from(char::from(byte).to_digit(16)?));
        match text.bytes().try_fold(0, digit) {
            Some(id) if text.len() == 16 && id != 0 => Ok(Self(id)),
            _ => Err(IdError("a profile id")),
        }
    }
}

impl core::fmt::Display for ProfileId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if *self == Self::DEFAULT { Ok(()) } else { write!(f, "{:016x}", self.0) }
    }
}

impl ContentId {
    /// Writes length and text.
    pub fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.0.as_bytes());
    }

    /// Reads what [`ContentId::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let text = reader.string(CONTENT_ID_BYTES_MAX, "CONTENT_ID_BYTES_MAX")?;
        Self::new(text).map_err(|_| DecodeError::invalid("content id"))
    }
}

/// The text before its trailing number, and the number: without leading zeros, of at most
/// [`NUMBER_DIGITS_MAX`] digits; `None` when the text does not end in a digit.
pub(crate) fn split(text: &str) -> (&str, Option<u64>) {
    let bytes = text.as_bytes();
    let digits = bytes.iter().rev().take(NUMBER_DIGITS_MAX).take_while(|b| b.is_ascii_digit());
    let mut start = bytes.len() - digits.count();
    while start + 1 < bytes.len() && bytes[start] == b'0' {
        start += 1;
    }
    let (prefix, digits) = text.split_at(start);
    let value = |digits: &str| digits.bytes().fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    (prefix, (!digits.is_empty()).then(|| value(digits)))
}

/// The content id that [`split`] took apart.
///
/// # Errors
/// [`DecodeError::Invalid`] when it is too long or would be split otherwise.
pub(crate) fn join(prefix: &str, number: u64) -> Result<ContentId, DecodeError> {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut text = String::with_capacity(CONTENT_ID_BYTES_MAX);
    text.push_str(prefix);
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
    if split(&text) != (prefix, Some(number)) {
        return Err(DecodeError::invalid("number of a content id"));
    }
    ContentId::new(&text).map_err(|_| DecodeError::invalid("content id"))
}

/// Random bits that follow from a caller's 16 bytes of entropy, so that a run can be repeated.
/// SplitMix64 (Steele, Lea, Flood 2014). For ids, nonces and jitter; not for keys.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    mask: u64,
}

impl Random {
    /// The same seed gives the same sequence.
    pub fn new(seed: [u8; 16]) -> Self {
        let [a, b] = [0, 8].map(|at| {
            seed[at..at + 8].iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte))
        });
        Self { state: a, mask: b }
    }

    /// 64 bits, never all zero.
    pub fn bits(&mut self) -> u64 {
        loop {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bits = z ^ (z >> 31) ^ self.mask;
            if bits != 0 {
                return bits;
            }
        }
    }

    /// A number from 0 to `max`, inclusive.
    pub fn up_to(&mut self, max: u64) -> u64 {
        match max.checked_add(1) {
            Some(range) => self.bits() % range,
            None => self.bits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_at_the_border() {
        assert!(ContentId::new("tmdb:550").is_ok());
        assert!(ContentId::new(&"x".repeat(CONTENT_ID_BYTES_MAX)).is_ok());
        assert!(ContentId::new(&"x".repeat(CONTENT_ID_BYTES_MAX + 1)).is_err());
        assert!(HouseholdId::new("").is_err());
        assert!(DeviceId::new("tv\nliving").is_err());
        assert_eq!(ProfileId::new(""), Ok(ProfileId::DEFAULT));
        assert!(ProfileId::new("+000000000000001").is_err());
        assert!(ProfileId::new("0000000000000000").is_err(), "the default one has no other name");
        let profile = ProfileId(0xfeed);
        assert_eq!(ProfileId::new(&profile.to_string()), Ok(profile));
    }

    #[test]
    fn a_seed_repeats() {
        let mut a = Random::new([7; 16]);
        let mut b = Random::new([7; 16]);
        assert_eq!([a.bits(), a.bits()], [b.bits(), b.bits()]);
        assert_ne!(Random::new([8; 16]).bits(), Random::new([7; 16]).bits());
        assert!((0..100).all(|_| a.up_to(3) <= 3));
    }

    #[test]
    fn an_id_is_split_one_way_and_joined_again() {
        let ids = ["tmdb:550", "tt0111161", "a0", "00", "7", "x", "film-é9", "9999999999999999999"];
        for id in ids {
            match split(id) {
                (prefix, Some(number)) => {
                    assert_eq!(join(prefix, number).map(|id| id.to_string()), Ok(id.to_owned()));
                }
                (prefix, None) => assert_eq!(prefix, id),
            }
        }
        assert_eq!(split("tt0111161"), ("tt0", Some(111_161)));
        assert_eq!(split("00"), ("0", Some(0)));
        assert!(join("tmdb:1", 5).is_err());
        assert!(join("tmdb:", 10_u64.pow(15)).is_err());
    }
}
