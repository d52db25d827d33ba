//! Tokens that count no more although they have not ended: one, or all of a household or device that
//! were issued up to a time.
//!
//! All of it is in memory, since every request asks; it is durable before it counts. Invariant: who
//! waits in [`Revoked::ended`] is told of every revocation after it began to wait.

use super::{AuthError, Principal};
use crate::clock::now_s;
use crate::error::Error;
use crate::limits::REVOCATIONS_MAX;
use crate::store::StoreError;
use crate::store::access::{AccessStore, Mark, Name, Revocation, owner};
use omega_sync_core::id::{DeviceId, HouseholdId};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Mutex, watch};

/// As a [`Mark`] has them.
type Held = BTreeMap<Name, u64>;

/// The tokens that count no more.
pub(crate) struct Revoked {
    store: Arc<dyn AccessStore>,
    held: RwLock<Held>,
    /// Whoever changes something, so that store and memory do so in one order.
    order: Mutex<()>,
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
            add(&mut held, mark, now);
        }
        let (held, order) = (RwLock::new(held), Mutex::default());
        Ok(Self { store, held, order, changes: watch::Sender::new(0) })
    }

    /// Revokes, durably, and ends the sessions that it concerns.
    ///
    /// # Errors
    /// The store does not work, or there are [`REVOCATIONS_MAX`] already.
    pub(crate) async fn revoke(&self, revocation: Revocation) -> Result<(), Error> {
        let now = now_s();
        let _order = self.order.lock().await;
        {
            let mut held = self.write();
            if held.len() >= REVOCATIONS_MAX {
                held.retain(|name, at| counts(name, *at, now));
            }
            if held.len() >= REVOCATIONS_MAX {
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
        add(&mut self.write(), revocation.mark(), now_s());
        self.changes.send_modify(|number| *number += 1);
    }

    /// Takes a revocation back, durably: tokens that have not ended count again. Whether there was one.
    ///
    /// # Errors
    /// The store does not work.
    pub(crate) async fn take_back(&self, name: Name) -> Result<bool, Error> {
        let _order = self.order.lock().await;
        self.store.unrevoke(name.clone()).await?;
        Ok(self.write().remove(&name).is_some_and(|at| counts(&name, at, now_s())))
    }

    /// What is revoked of one of these.
    pub(crate) fn find(&self, name: &Name) -> Option<Mark> {
        let at = self.read().get(name).copied().filter(|at| counts(name, *at, now_s()))?;
        Some(Mark { name: name.clone(), at })
    }

    /// All that is revoked behind a name, so many at most.
    pub(crate) fn list(&self, after: Option<&Name>, limit: usize) -> Vec<Mark> {
        let (held, now) = (self.read(), now_s());
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = held.range((from, Bound::Unbounded)).filter(|(name, at)| counts(name, **at, now));
        all.map(|(name, at)| Mark { name: name.clone(), at: *at }).take(limit).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody's token still counts. One that does not say when it was issued does not,
    /// once a time was set.
    pub(crate) fn check(&self, principal: &Principal) -> Result<(), AuthError> {
        let held = self.read();
        if held.is_empty() {
            return Ok(());
        }
        let token = principal.token.as_ref();
        let named = token.is_some_and(|id| held.contains_key(&Name::Token(id.clone())));
        let before = [None, Some(&principal.device)].into_iter().any(|device| {
            let at = held.get(&Name::Owner(owner(&principal.household, device)));
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

/// Whether it makes a difference: a token that has ended counts no more anyway.
fn counts(name: &Name, at: u64, now: u64) -> bool {
    matches!(name, Name::Owner(_)) || at >= now
}

fn add(held: &mut Held, mark: Mark, now: u64) {
    if counts(&mark.name, mark.at, now) {
        let place = held.entry(mark.name).or_default();
        *place = mark.at.max(*place);
    }
}
