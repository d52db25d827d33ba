//! What a store keeps of who may come in: paired devices, and tokens that count no more.
//!
//! The contract is that of [`Store`](super::Store): what was answered with `Ok` survives a crash, and a
//! change is all or nothing. Tokens and keys never come here, only their digests.

use super::Answer;
use crate::aggregate::region::Region;
use omega_sync_core::id::{DeviceId, HouseholdId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// SHA-256 of a token or key.
pub type Digest = [u8; 32];
/// What the refresh tokens of one pairing begin with.
pub type PairingId = [u8; 16];

/// Paired devices of a household.
pub const PAIRINGS_MAX: usize = 256;

/// A device that may fetch tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// Its name.
    pub id: PairingId,
    /// Whose device.
    pub household: HouseholdId,
    /// Which device.
    pub device: DeviceId,
    /// What its tokens allow.
    pub scope: String,
    /// Where the household is, if whoever allowed it said so.
    pub region: Option<Region>,
    /// When somebody allowed it, in Unix seconds.
    pub allowed_s: u64,
    /// Of the refresh token that it may use next.
    pub current: Digest,
    /// When it ends if it is not used, in Unix milliseconds.
    pub ends: u64,
}

/// What came of pairing a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paired {
    /// It is paired, in place of what was known of it.
    Done,
    /// The household has [`PAIRINGS_MAX`] others.
    Full,
    /// Its tokens, or the household's, were revoked after it was allowed.
    Revoked,
}

/// What a household's members confirm pairings with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Of the key.
    pub digest: Digest,
    /// Where the household is, if the operator said so.
    pub region: Option<Region>,
}

/// A refresh token is used, and another takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Of which pairing.
    pub id: PairingId,
    /// Of the token that is used.
    pub used: Digest,
    /// Of the token that takes its place.
    pub next: Digest,
    /// The time, in Unix milliseconds.
    pub now: u64,
    /// When the pairing ends if it is not used, in Unix milliseconds.
    pub ends: u64,
}

/// What came of a [`Rotation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// It is done.
    Done {
        /// Whose device.
        household: HouseholdId,
        /// Which device.
        device: DeviceId,
        /// What its tokens allow.
        scope: String,
        /// Where the household is, if that was said.
        region: Option<Region>,
    },
    /// There is no such pairing, or it has ended.
    Unknown,
    /// The token was used before, so somebody else has it: the pairing is deleted.
    Reused {
        /// Whose device.
        household: HouseholdId,
        /// Which device.
        device: DeviceId,
    },
}

/// Tokens that count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// One, by its `jti`.
    Token {
        /// Its name.
        id: String,
        /// When it ends anyway, in Unix seconds.
        ends: u64,
    },
    /// All of a household, or of one of its devices, that were issued up to a time.
    Before {
        /// The household whose tokens they are.
        household: HouseholdId,
        /// Which device's; every device's if it is none.
        device: Option<DeviceId>,
        /// The time, in Unix seconds.
        at: u64,
    },
}

/// A household or one of its devices, by a digest that names it only to who knows it already.
pub type Owner = [u8; 16];

/// The digest of a household, or of one of its devices.
pub fn owner(household: &HouseholdId, device: Option<&DeviceId>) -> Owner {
    // No id has a line feed, so no two owners have one text.
    let text = [household.as_str(), "\n", device.map_or("", DeviceId::as_str)].concat();
    let mut owner = Owner::default();
    owner.copy_from_slice(&Sha256::digest(text)[..16]);
    owner
}

/// Whose tokens count no more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// One token, by its `jti`.
    Token(String),
    /// A household's, or one of its devices'.
    Owner(Owner),
}

/// What is kept of a [`Revocation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose tokens.
    pub name: Name,
    /// Of one token when it ends anyway, else up to when they count no more; in Unix seconds.
    pub at: u64,
}

impl Revocation {
    /// What is kept of it.
    pub fn mark(&self) -> Mark {
        match self {
            Self::Token { id, ends } => Mark { name: Name::Token(id.clone()), at: *ends },
            Self::Before { household, device, at } => {
                Mark { name: Name::Owner(owner(household, device.as_ref())), at: *at }
            }
        }
    }
}

/// Keeps who may come in.
pub trait AccessStore: Send + Sync {
    /// Takes a paired device. `now` in Unix milliseconds.
    fn pair(&self, pairing: Pairing, now: u64) -> Answer<Paired>;

    /// The devices of a household that are paired. `now` in Unix milliseconds.
    fn paired(&self, household: HouseholdId, now: u64) -> Answer<BTreeSet<DeviceId>>;

    /// Uses a refresh token.
    fn rotate(&self, rotation: Rotation) -> Answer<Rotated>;

    /// Deletes the pairing of a refresh token, whose device is the answer.
    fn unpair(&self, id: PairingId, used: Digest) -> Answer<Option<(HouseholdId, DeviceId)>>;

    /// Revokes tokens, and with those of a household or device its pairings. `now` in Unix seconds.
    fn revoke(&self, revocation: Revocation, now: u64) -> Answer<()>;

    /// Takes a revocation back. The pairings that went with it stay away.
    fn unrevoke(&self, name: Name) -> Answer<()>;

    /// All that was revoked and not forgotten since.
    fn revocations(&self) -> Answer<Vec<Mark>>;

    /// Sets what a household's members confirm pairings with.
    fn set_pairing_key(&self, household: HouseholdId, key: KnownKey) -> Answer<()>;

    /// What a household's members confirm pairings with.
    fn pairing_key(&self, household: HouseholdId) -> Answer<Option<KnownKey>>;
}
