//! Tokens that count no more although they have not ended: one, or all of a household or device that
//! were issued up to a time.
//!
//! All of it is in memory, since every request asks; it is durable before it counts. Invariant: who
//! waits in [`Revoked::ended`] is told of every revocation after it began to wait.

use super::{AuthError, Principal};
use crate::error::Error;
use crate::limits::REVOCATIONS_MAX;
use crate::store::StoreError;
use crate::store::access::{AccessStore, Mark, Owner, Revocation, owner};
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

#[derive(Default)]
struct Held {
    /// When each would end anyway, in Unix seconds.
    tokens: HashMap<String, u64>,
    /// Up to when those of a household or device count no more, in Unix seconds.
    before: HashMap<Owner, u64>,
}

/// The tokens that count no more.
pub(crate) struct Revoked {
    store: Arc<dyn AccessStore>,
    held: RwLock<Held>,
    changes: watch::Sender<u64>,
}

impl Revoked {
    /// Reads what was revoked.
    ///
    /// # Errors
    /// The store does not work.
    pub(crate) async fn load(store: Arc<dyn AccessStore>) -> Result<Self, StoreError> {
        let mut held = Held::default();
        let now = now_s();
        for mark in store.revocations().await? {
            held.add(mark, now);
        }
        Ok(Self { store, held: RwLock::new(held), changes: watch::Sender::new(0) })
    }

    /// Revokes, durably, and ends the sessions that it concerns.
    ///
    /// # Errors
    /// The store does not work, or there are [`REVOCATIONS_MAX`] already.
    pub(crate) async fn revoke(&self, revocation: Revocation) -> Result<(), Error> {
        let now = now_s();
        {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            if held.entries() >= REVOCATIONS_MAX {
                held.tokens.retain(|_, ends| *ends >= now);
            }
            if held.entries() >= REVOCATIONS_MAX {
                return Err(Error::Overloaded);
            }
        }
        self.store.revoke(revocation.clone(), now).await?;
        self.note(&revocation);
        Ok(())
    }

    /// Forgets a device, when a household does: none of its tokens counts any more, nor can it fetch others.
    ///
    /// # Errors
    /// The store does not work.
    pub(crate) async fn forget(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
    ) -> Result<(), Error> {
        let (household, device) = (household.clone(), Some(device.clone()));
        self.revoke(Revocation::Before { household, device, at: now_s() }).await
    }

    /// Takes in what the store has made durable by itself.
    pub(crate) fn note(&self, revocation: &Revocation) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.add(revocation.mark(), now_s());
        drop(held);
        self.changes.send_modify(|number| *number += 1);
    }

    /// Whether somebody's token still counts. One that does not say when it was issued does not,
    /// once a time was set.
    pub(crate) fn check(&self, principal: &Principal) -> Result<(), AuthError> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let named = principal.token.as_ref().is_some_and(|id| held.tokens.contains_key(id));
        // Most servers have nothing to look for.
        let before = !held.before.is_empty()
            && [None, Some(&principal.device)].into_iter().any(|device| {
                let at = held.before.get(&owner(&principal.household, device));
                at.is_some_and(|at| principal.issued_s.is_none_or(|issued| issued <= *at))
            });
        if named || before { Err(AuthError::Revoked) } else { Ok(()) }
    }

    /// Ends when somebody's token counts no more, if it ever does.
    pub(crate) async fn ended(&self, principal: &Principal) {
        let mut changes = self.changes.subscribe();
        while self.check(principal).is_ok() {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Held {
    fn add(&mut self, mark: Mark, now: u64) {
        match mark {
            Mark::Token(_, ends) if ends < now => {}
            Mark::Token(id, ends) => {
                self.tokens.insert(id, ends);
            }
            Mark::Before(owner, at) => {
                let place = self.before.entry(owner).or_default();
                *place = at.max(*place);
            }
        }
    }

    fn entries(&self) -> usize {
        self.tokens.len() + self.before.len()
    }
}

/// The time as tokens have it.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
