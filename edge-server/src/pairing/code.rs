//! Codes, keys and tokens of pairings: how they are made, written and read.
//!
//! What people type uses the letters of RFC 8628, section 6.1: no vowels, so that no words come about,
//! and none that are taken for each other. Case, spaces and hyphens don't count.

use crate::store::access::{Digest, PairingId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use omega_sync_core::id::HouseholdId;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The letters of codes: without vowels, so that no word comes of them.
pub(crate) const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a code: 20^8, 34 bits. It lives for minutes, and guesses are counted.
pub(crate) const CODE_LETTERS: usize = 8;
/// Letters of a household's key: 20^20, 86 bits. It lives for years.
pub(crate) const KEY_LETTERS: usize = 20;
/// Random bytes of a device code, and of a refresh token beside its pairing's id.
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = size_of::<PairingId>();

/// The system gives no random bytes.
#[derive(Debug)]
pub(crate) struct NoEntropy;

impl From<getrandom::Error> for NoEntropy {
    fn from(_: getrandom::Error) -> Self {
        Self
    }
}

/// So many letters that people type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Letters<const N: usize>([u8; N]);

/// The code that a TV shows.
pub(crate) type UserCode = Letters<CODE_LETTERS>;
/// The key with which a household's members confirm in a browser.
pub(crate) type PairingKey = Letters<KEY_LETTERS>;

impl<const N: usize> Letters<N> {
    /// Letters drawn at random.
    pub(crate) fn random() -> Result<Self, NoEntropy> {
        let mut letters = [0; N];
        for letter in &mut letters {
            // Bytes that would make the first letters likelier are thrown away.
            *letter = loop {
                let mut byte = [0];
                getrandom::fill(&mut byte)?;
                if byte[0] < 240 {
                    break LETTERS[usize::from(byte[0]) % LETTERS.len()];
                }
            };
        }
        Ok(Self(letters))
    }

    /// Reads what somebody typed.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let typed = text.bytes().filter(u8::is_ascii_alphanumeric);
        let typed: Vec<u8> = typed.take(N + 1).map(|byte| byte.to_ascii_uppercase()).collect();
        let letters: [u8; N] = typed.try_into().ok()?;
        letters.iter().all(|letter| LETTERS.contains(letter)).then_some(Self(letters))
    }
}

impl<const N: usize> fmt::Display for Letters<N> {
    /// In groups of four.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in self.0.iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

impl PairingKey {
    /// What is kept of a household's key.
    pub(crate) fn digest(&self, household: &HouseholdId) -> Digest {
        let hash = Sha256::new().chain_update("omega-sync pairing key\n");
        hash.chain_update(household.as_str())
            .chain_update("\n")
            .chain_update(self.0)
            .finalize()
            .into()
    }
}

/// A random text for a program, and its digest.
pub(crate) fn random_text() -> Result<(String, Digest), NoEntropy> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    let digest = digest(&text);
    Ok((text, digest))
}

/// The digest of a text that a program sends.
pub(crate) fn digest(text: &str) -> Digest {
    Sha256::digest(text).into()
}

/// A refresh token: the id of its pairing, and what only its device knows.
pub(crate) struct RefreshToken([u8; ID_BYTES + SECRET_BYTES]);

impl RefreshToken {
    /// A random one, of a pairing or of a new one.
    pub(crate) fn random(pairing: Option<PairingId>) -> Result<Self, NoEntropy> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        if let Some(id) = pairing {
            bytes[..ID_BYTES].copy_from_slice(&id);
        }
        Ok(Self(bytes))
    }

    /// Reads what a device sent.
    pub(crate) fn read(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn pairing(&self) -> PairingId {
        let mut id = PairingId::default();
        id.copy_from_slice(&self.0[..ID_BYTES]);
        id
    }

    pub(crate) fn digest(&self) -> Digest {
        Sha256::digest(self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_as_people_type_them() {
        let code = UserCode::read("WDJBMJHT").unwrap();
        assert_eq!(code.to_string(), "WDJB-MJHT");
        for text in ["wdjb-mjht", " WDJB mjht ", "w.d.j.b.m.j.h.t", "WDJB\u{2013}MJHT"] {
            assert_eq!(UserCode::read(text), Some(code), "{text}");
        }
        for text in ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "WDJB-MJH1", "WDJB-MJH\u{d0}"] {
            assert_eq!(UserCode::read(text), None, "{text}");
        }
    }

    #[test]
    fn every_letter_is_as_likely() {
        let mut counts = [0u32; 20];
        for _ in 0..1_000 {
            for letter in PairingKey::random().unwrap().0 {
                counts[LETTERS.iter().position(|known| *known == letter).unwrap()] += 1;
            }
        }
        // 20,000 letters: 1,000 each, with a deviation of 31.
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_s_digest_is_its_household_s() {
        let (home, other) = (HouseholdId::new("home").unwrap(), HouseholdId::new("other").unwrap());
        let key = PairingKey::random().unwrap();
        let again = PairingKey::read(&key.to_string().to_lowercase()).unwrap();
        assert_eq!(key.digest(&home), again.digest(&home));
        assert_ne!(key.digest(&home), key.digest(&other));
        assert_ne!(key.digest(&home), PairingKey::random().unwrap().digest(&home));
    }

    #[test]
    fn a_refresh_token_names_its_pairing() {
        let first = RefreshToken::random(None).unwrap();
        let next = RefreshToken::random(Some(first.pairing())).unwrap();
        assert_eq!(first.pairing(), next.pairing());
        assert_ne!(first.digest(), next.digest());
        let read = RefreshToken::read(&first.text()).unwrap();
        assert_eq!((read.pairing(), read.digest()), (first.pairing(), first.digest()));
        assert_eq!(first.text().len(), 64);
        for text in ["", "x", &first.text()[1..], &format!("{}AAAA", first.text())] {
            assert!(RefreshToken::read(text).is_none(), "{text}");
        }
    }
}
