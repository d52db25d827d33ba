//! What a replica makes of the server's answer to its hello: whether both remember the same, what is
//! settled by it, and by how much the clocks differ.

use super::{Mismatch, Now, Replica};
use crate::clock::{Clock, Timestamp, UnixMillis};
use crate::message::{OFFER_STATES_MAX, Taken, Welcome};
use crate::operation::Changed;
use crate::outbox::Correction;

impl Replica {
    /// Settles everything with the server's answer to a hello, `waited_ms` after it left. Store the
    /// whole replica afterwards.
    ///
    /// # Errors
    /// [`Mismatch`]: nothing has changed; call [`Replica::renew`].
    pub fn welcome(
        &mut self,
        now: Now,
        waited_ms: u64,
        welcome: &Welcome,
    ) -> Result<Changed, Mismatch> {
        let epoch = welcome.epoch.or(self.epoch);
        let same_epoch = self.epoch == epoch;
        let taken = welcome.taken.unwrap_or(self.acked);
        if !self.remembers(taken, same_epoch) {
            return Err(Mismatch);
        }
        if self.epoch.is_some() && !same_epoch {
            self.owe();
        }
        let voids = welcome.voids.iter().filter(|(stamp, _)| *stamp <= taken.through);
        let mut changed = self.reject(voids);
        // What an earlier life took, and this one not, is sent again unless it is owed.
        let named = self.acked.through.max(taken.through);
        self.acked = taken;
        self.epoch = epoch;
        if welcome.household.is_some() {
            self.household.clone_from(&welcome.household);
        }
        self.offset_ms = offset_ms(now, waited_ms, welcome.server_time);
        let correction = Correction {
            server: self.wall(now.unix),
            offset_ms: self.offset_ms,
            steady_ms: now.steady_ms,
        };
        changed.append(&mut self.outbox.restart(self.id, named, correction));
        // What left and was refused is neither seen nor waiting, and must not be named again.
        let last = self.outbox.last().max(self.outbox.sent_through());
        self.clock = Clock::after(self.highest_seen().max(last));
        Ok(changed)
    }

    /// The household began a new life: what the earlier one confirmed is owed to it, beside what is still
    /// owed from before. Confirmed state stays until the new life's own comes.
    fn owe(&mut self) {
        if self.cursor.is_some_and(|cursor| Some(cursor.epoch) != self.epoch) {
            // Nothing came of that life: what is confirmed is owed already.
            return;
        }
        if self.owed.len() >= OFFER_STATES_MAX {
            self.owed.remove(0);
        }
        self.owed.push(self.confirmed.clone());
    }

    fn remembers(&self, taken: Taken, same_epoch: bool) -> bool {
        if taken.through < self.acked.through {
            // The server lost what it had acknowledged: only a restored backup may do that.
            return !same_epoch;
        }
        if taken.through == self.acked.through {
            let unknown = taken.digest == 0 || self.acked.digest == 0;
            return !same_epoch || unknown || taken.digest == self.acked.digest;
        }
        if taken.digest == 0 && taken.through <= self.outbox.sent_through() {
            // An offer brought it back. A connection that might only read may have refused it here.
            return true;
        }
        let digest = self.digest(taken.through);
        let known = taken.digest == 0 || digest == 0 || taken.digest == digest;
        self.outbox.get(taken.through).is_some() && known
    }

    /// The digest of everything acknowledged and of what waits up to `through`; 0 when that of what is
    /// acknowledged is not known, until a welcome says it.
    pub(super) fn digest(&self, through: Timestamp) -> u32 {
        if self.acked.digest == 0 && self.acked.through > Timestamp::ZERO {
            return 0;
        }
        let waiting = self.outbox.above(self.acked.through);
        let taken = waiting.take_while(|operation| operation.timestamp <= through);
        taken.fold(self.acked.digest, |before, operation| operation.digest(before))
    }
}

/// What to add to this device's clock, in milliseconds. The server read its clock at some moment
/// between the hello and now, so all that is known is an interval (Cristian, "Probabilistic clock
/// synchronization", 1989). The value nearest to zero is taken: a clock that may be right is left
/// alone, and two right clocks agree however slow their answers were.
fn offset_ms(now: Now, waited_ms: u64, server: UnixMillis) -> i64 {
    let low = (server.0 as i64).wrapping_sub(now.unix.0 as i64);
    let high = low.saturating_add_unsigned(waited_ms);
    0.clamp(low, high)
}
