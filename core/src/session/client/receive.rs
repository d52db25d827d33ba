//! What a client does with the frames of the server: what a welcome brings, states, updates, acks.
//!
//! Invariant: confirmed state is moved on only where it is exactly the server's; else the cursor is
//! forgotten and the whole state is asked for.

use super::connection::Connection;
use super::fault::Fault;
use super::{ANSWER_TIMEOUT_MS, Client, Link, Output, WAIT_DOUBT_MS};
use crate::clock::UnixMillis;
use crate::household::Household;
use crate::id::ContentId;
use crate::message::{Ack, ClientFrame, CloseCode, ServerFrame, Welcome, read_update};
use crate::operation::{Changed, VoidReason};
use crate::replica::{Now, REJECTED_MAX};
use crate::session::metrics::Greeting;

impl Client {
    /// Takes a frame of the socket that is wanted, or of an answer.
    #[inline(never)] // compiled when the first frame comes, not at the start
    pub(super) fn frame(&mut self, now: Now, bytes: &[u8], outputs: &mut Vec<Output>) {
        match &mut self.link {
            Link::Open(connection) => {
                connection.hear(now);
                connection.pinged_ms = None;
            }
            Link::Greeting(..) => {}
            // From a socket that is not wanted any more.
            _ => return,
        }
        let greeting = matches!(self.link, Link::Greeting(..));
        let waiting = self.tally.waiting(self.replica.outbox());
        let refused = self.tally.replay(self.replica.outbox()).rejected();
        let fault = match ServerFrame::decode(bytes) {
            Ok(frame) => self.receive(now, frame, outputs).err(),
            Err(error) => Some(error.into()),
        };
        if !greeting {
            self.tally.answered(waiting, refused, self.replica.outbox());
        }
        match fault {
            None => self.flush(outputs),
            Some(Fault::Version) => {
                self.disconnect(outputs);
                self.close = Some(CloseCode::VersionUnsupported);
                self.link = Link::Stopped;
            }
            Some(fault) => {
                if let Fault::Renew = fault {
                    self.renew(outputs);
                }
                self.disconnect(outputs);
                self.retry(now);
            }
        }
    }

    fn receive(
        &mut self,
        now: Now,
        frame: ServerFrame,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        if let (&Link::Greeting(until, left), ServerFrame::Welcome(welcome)) = (&self.link, &frame)
        {
            return self.greeted(now, (until, left), welcome, outputs);
        }
        let Link::Open(connection) = &mut self.link else {
            return Err(Fault::Malformed);
        };
        match frame {
            ServerFrame::Welcome(_) => return Err(Fault::Malformed),
            ServerFrame::Pong => {}
            ServerFrame::Order(order) => self.ordered(now, order, outputs)?,
            ServerFrame::Status(id, outcome) => self.settled(id, outcome, outputs),
            ServerFrame::Presence(presence) => outputs.push(Output::Presence(presence)),
            ServerFrame::Offered => connection.offered = true,
            ServerFrame::Snapshot(number, version, state) => {
                connection.expect(number)?;
                self.replace_state(now, version, *state, outputs)?;
            }
            ServerFrame::Difference(number, versions, body) => {
                connection.expect(number)?;
                let version = self.replica.base_version().ok_or(Fault::Malformed)?;
                if versions > 0 || connection.offered {
                    self.catch_up(versions, body.0, outputs)?;
                }
                self.caught_up(version.saturating_add(versions));
            }
            // What moves confirmed state on needs one that is the server's.
            ServerFrame::Update(..) | ServerFrame::Ack(..) if !connection.caught_up => {
                return Err(Fault::Malformed);
            }
            ServerFrame::Update(number, body) => {
                connection.expect(number)?;
                let confirmed = self.replica.confirmed();
                let live = |profile, content: &ContentId, _| {
                    let shelf = confirmed.profile(profile);
                    Some(shelf.map_or(Vec::new(), |p| p.watchlist().dots(content).to_vec()))
                };
                let delta = read_update(body.0, &mut connection.down, &live)?;
                let updated = self.replica.update(delta);
                let (record, changed) = updated.or_else(|_| self.disbelieve(outputs))?;
                push_changed(changed, outputs);
                self.append(record, outputs);
            }
            ServerFrame::Ack(number, ack) => {
                connection.expect(number)?;
                self.acknowledged(ack, outputs)?;
            }
        }
        Ok(())
    }

    /// Takes the answer to a hello, unless nobody knows how old it is. The hello left at `left` by the wall
    /// clock and is given up at `until` by the steady one.
    fn greeted(
        &mut self,
        now: Now,
        (until, left): (u64, UnixMillis),
        welcome: &Welcome,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let left_ms = until.saturating_sub(ANSWER_TIMEOUT_MS);
        let waited_ms = now.steady_ms.saturating_sub(left_ms);
        // In standby the steady clock may stand still, and the wall clock may be set: then nobody
        // knows how old the answer is, and a new hello measures anew. So it does when the answer is
        // too old to tell the server's clock by.
        let by_wall_ms = now.unix.0.saturating_sub(left.0);
        let doubtful = by_wall_ms.abs_diff(waited_ms) > WAIT_DOUBT_MS || now.unix < left;
        if doubtful || waited_ms > ANSWER_TIMEOUT_MS {
            return Err(Fault::Resync);
        }
        self.welcomed(now, waited_ms, welcome, outputs)
    }

    fn welcomed(
        &mut self,
        now: Now,
        waited_ms: u64,
        welcome: &Welcome,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        if welcome.session != self.replica.session_number() as u8 {
            // An answer to an earlier hello: what it says may be out of date.
            return Err(Fault::Resync);
        }
        let before = self.replica.rejected().len();
        let (outbox, acked) = (self.replica.outbox(), self.replica.acked().through);
        let waiting = Greeting::new(outbox, acked, &welcome.voids);
        let changed = self.replica.welcome(now, waited_ms, welcome).map_err(|_| Fault::Renew)?;
        self.tally.welcomed(&waiting, self.replica.outbox());
        self.store_image(outputs);
        let mut connection = Connection::new(now, waited_ms, welcome.server_time);
        connection.sent = self.replica.acked().through;
        connection.retry_through = self.replica.outbox().sent_through();
        self.requests.measured = true;
        if let Some(request) = &mut self.requests.open {
            connection.by_request = true;
            connection.shares_session = request.shares_session;
            connection.in_flight = std::mem::take(&mut request.in_flight);
        } else if !self.replica.owed().is_empty() {
            let number = connection.next_delta.advance();
            outputs.push(Output::Send(ClientFrame::offer(number, self.replica.owed())));
        }
        self.link = Link::Open(Box::new(connection));
        self.resume_commands(now, outputs);
        self.report(before, changed, outputs);
        Ok(())
    }

    /// Takes a whole state in place of what is here.
    fn replace_state(
        &mut self,
        now: Now,
        version: u64,
        state: Household,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        if self.replica.base_version().is_some_and(|known| version < known) {
            // That database was put back without a new epoch: what is known here is more.
            return Err(Fault::Resync);
        }
        let changed = self.replica.snapshot(version, state);
        outputs.push(Output::Changed(changed));
        self.note_offered();
        self.store_image(outputs);
        self.caught_up(version);
        self.describe_now(now, outputs);
        Ok(())
    }

    /// Takes a difference. One that does not fit what is here would not fit the next time either, so
    /// the whole state is asked for then.
    fn catch_up(
        &mut self,
        versions: u64,
        body: &[u8],
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let applied = match versions {
            0 => Ok(Changed::new()),
            _ => self.replica.difference(versions, body),
        };
        match applied {
            Ok(_) => self.note_offered(),
            Err(_) => self.replica.forget_cursor(),
        }
        self.store_image(outputs);
        push_changed(applied?, outputs);
        Ok(())
    }

    /// The server says it took what a household can't hold: nothing it says next would fit what is
    /// here, so the whole state is asked for.
    fn disbelieve<T>(&mut self, outputs: &mut Vec<Output>) -> Result<T, Fault> {
        self.replica.forget_cursor();
        outputs.push(Output::Changed(self.replica.confirmed().all_parts()));
        self.store_image(outputs);
        Err(Fault::Malformed)
    }

    /// What the server said it took of an offer is in the state that just came.
    fn note_offered(&mut self) {
        if let Link::Open(connection) = &mut self.link
            && core::mem::take(&mut connection.offered)
        {
            self.replica.offered();
            self.backoff.reset();
        }
    }

    /// From the first snapshot or difference on, both ends know the same version.
    fn caught_up(&mut self, version: u64) {
        // A server that will close at what it is sent gives no success before an answer to it.
        if self.replica.outbox().is_empty() {
            self.backoff.reset();
        }
        if let Link::Open(connection) = &mut self.link
            && !connection.caught_up
        {
            connection.caught_up = true;
            connection.up.begin_at(version);
        }
    }

    fn acknowledged(&mut self, ack: Ack, outputs: &mut Vec<Output>) -> Result<(), Fault> {
        let Link::Open(connection) = &mut self.link else {
            return Err(Fault::Malformed);
        };
        if connection.in_flight.is_empty() {
            return Err(Fault::Malformed);
        }
        let through = connection.in_flight.remove(0);
        let forbidden = |(_, reason): &(_, VoidReason)| *reason == VoidReason::Forbidden;
        if connection.shares_session && ack.voids.iter().any(forbidden) {
            // An earlier frame of the session, with a token that allowed it, may still be taken. In
            // a session of its own the refusal is final.
            return Err(Fault::Resync);
        }
        let before = self.replica.rejected().len();
        let versions = u64::from(ack.advances);
        self.tally.refuse(ack.voids.iter());
        let settled = self.replica.acknowledged(through, versions, &ack.voids);
        let (record, changed) = settled.or_else(|_| self.disbelieve(outputs))?;
        self.backoff.reset();
        self.append(record, outputs);
        self.report(before, changed, outputs);
        Ok(())
    }

    /// Tells the app about operations that were refused.
    fn report(&self, before: usize, changed: Changed, outputs: &mut Vec<Output>) {
        push_changed(changed, outputs);
        let rejected = self.replica.rejected().len();
        if rejected != before || rejected == REJECTED_MAX {
            outputs.push(Output::Rejected(rejected));
        }
    }
}

fn push_changed(changed: Changed, outputs: &mut Vec<Output>) {
    if !changed.is_empty() {
        outputs.push(Output::Changed(changed));
    }
}
