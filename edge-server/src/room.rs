//! One household while somebody is connected: a task that owns the core's [`Room`], so that no lock
//! is needed around its state.
//!
//! It takes the inputs that wait, lets the core handle each, joins their commits into one, makes
//! that durable, and only then carries out what the core wants sent. Invariant: no frame leaves
//! before what it tells of is durable. While a commit is on its way the next inputs gather, so the
//! busier a household is, the more updates share one fsync.

mod batch;
pub(crate) mod message;
pub(crate) mod seat;

use self::batch::{Batch, Effect, operations};
use self::message::{Call, CallResult, Envelope, RoomMessage, RoomView};
use self::seat::Seat;
use crate::aggregate::region::Region;
use crate::clock::now;
use crate::dispatch::{Dispatch, Known, Watch, message};
use crate::json::news::news;
use crate::limits::{BATCH_INPUTS_MAX, BATCH_OUTPUT_BYTES_MAX, LISTENERS_MAX};
use crate::metrics::{Count, Timing};
use crate::outbox::{Delivery, Outbox};
use crate::plays::FirstPlays;
use crate::presence::{Presence, Unstored};
use crate::quota::Of;
use crate::store::StoreError;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::command::Order;
use omega_sync_core::id::EpochId;
use omega_sync_core::message::{CloseCode, ServerFrame};
use omega_sync_core::session::server::relay::RelayOutput;
use omega_sync_core::session::server::{Commit, ConnectionId, Room, RoomInput, RoomSettings};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;
use tracing::{Instrument, Span};

type Inbox = mpsc::UnboundedReceiver<Envelope>;

/// Runs a room until it is idle, the server stops, or it fails. It is loaded on behalf of `first`.
pub(crate) async fn run(seat: Seat, mut inbox: Inbox, first: Span) {
    let span = tracing::info_span!(parent: &first, "load");
    drop(first);
    let (outboxes, code) = match load(&seat).instrument(span).await {
        Ok((mut room, presence)) => {
            room.set(RoomSettings {
                differences: seat.shared.differences,
                entries_max: seat.shared.limits.entries_max,
            });
            let mut task = RoomTask {
                seat: &seat,
                room,
                outboxes: HashMap::new(),
                listeners: HashMap::new(),
                presence,
                region: None,
                plays: FirstPlays::default(),
                dispatch: Dispatch::new(seat.shared.limits.command_life),
            };
            let end = task.serve(&mut inbox).await;
            task.outboxes.extend(task.listeners);
            (task.outboxes, end)
        }
        Err(code) => (HashMap::new(), Some(code)),
    };
    let Some(code) = code else {
        return;
    };
    // After this nobody can join, so whoever is in the inbox is the last.
    seat.leave();
    inbox.close();
    // Who came since the erasure is of the next life.
    let late = if code == CloseCode::Erased { CloseCode::Restart } else { code };
    while let Ok(late_comer) = inbox.try_recv() {
        match late_comer.message {
            RoomMessage::Join { outbox, .. } | RoomMessage::Listen { outbox, .. } => {
                outbox.close(late);
            }
            RoomMessage::Call(Call { refused, .. }) => drop(refused.send(late)),
            RoomMessage::Erase(answer) => drop(answer.send(Err(late))),
            RoomMessage::Frame { .. }
            | RoomMessage::Leave(_)
            | RoomMessage::Written(..)
            | RoomMessage::Stop => {}
        }
    }
    outboxes.into_values().for_each(|outbox| outbox.close(code));
}

/// Loads the household, or creates one in memory; the core's first commit creates it in the store.
async fn load(seat: &Seat) -> Result<(Room, Presence), CloseCode> {
    let household = &seat.household;
    let asked = Instant::now();
    let stored = seat.shared.store.load(household).await.map_err(|error| error.close_code())?;
    seat.shared.metrics.observe(Timing::Load, asked.elapsed());
    seat.shared.metrics.add(Count::Loads, 1);
    let lives = seat.shared.store.lives(household).await.map_err(|error| error.close_code())?;
    let mut room = match stored {
        Some(stored) => Room::load(household.clone(), &stored).map_err(|error| {
            tracing::error!(%household, %error, "the stored household can't be read");
            CloseCode::StorageUnavailable
        }),
        None => {
            let epoch = getrandom::u64().map_err(|error| {
                tracing::error!(%error, "no random numbers");
                CloseCode::StorageUnavailable
            })?;
            Ok(Room::create(household.clone(), EpochId(epoch)))
        }
    }?;
    if let Some(lives) = lives {
        room.remember_erasure(&lives);
    }
    let seen = seat.shared.store.seen(household).await.map_err(|error| error.close_code())?;
    Ok((room, Presence::load(seen)))
}

struct RoomTask<'a> {
    seat: &'a Seat,
    room: Room,
    outboxes: HashMap<ConnectionId, Outbox>,
    /// Connections that speak JSON: they hear of every change, and write by calls.
    listeners: HashMap<ConnectionId, Outbox>,
    presence: Presence,
    /// Where the household is, as far as a token has said.
    region: Option<Region>,
    plays: FirstPlays,
    dispatch: Dispatch,
}

/// What wakes a room.
enum Next {
    Message(Envelope),
    /// A command's life is over.
    Due,
    /// Nobody was connected for a while.
    Idle,
}

impl RoomTask<'_> {
    /// Ends with the code to close all connections with, or without one if there are none left.
    async fn serve(&mut self, inbox: &mut Inbox) -> Option<CloseCode> {
        loop {
            let mut batch = Batch::default();
            match self.next(inbox).await {
                Next::Message(first) => self.accept(first, &mut batch),
                Next::Due => {}
                Next::Idle => {
                    self.store_seen(true).await;
                    if self.seat.retire(inbox) {
                        return None;
                    }
                    continue;
                }
            }
            batch.relay(self.dispatch.due());
            for _ in 1..BATCH_INPUTS_MAX {
                if batch.stop || batch.output_bytes > BATCH_OUTPUT_BYTES_MAX {
                    break;
                }
                let Ok(envelope) = inbox.try_recv() else {
                    break;
                };
                self.accept(envelope, &mut batch);
            }
            let commit = batch.commit.take();
            let operations = commit.as_ref().and_then(operations);
            let played = operations.as_ref().map(|operations| self.plays.of(operations, now()));
            let told = commit.as_ref().filter(|_| !self.listeners.is_empty());
            let news = told.map_or(Vec::new(), |commit| {
                news(commit, operations.as_deref(), self.room.household())
            });
            if let Some(commit) = commit
                && let Err(error) = self.persist(commit).instrument(batch.span_of_commit()).await
            {
                return Some(self.refuse_all(batch, &error));
            }
            let first = batch.arrivals.iter().min().copied();
            if self.presence.has_new() {
                self.store_seen(true).await;
            }
            self.carry_out(batch.effects, first);
            let done = self.room.take_tally();
            self.seat.shared.metrics.done(&done);
            self.tell(&news);
            let changed = self.tell_presence();
            self.store_seen(changed).await;
            for at in batch.arrivals {
                self.seat.shared.metrics.observe(Timing::Answer, at.elapsed());
            }
            if let Some(played) = played.filter(|played| !played.is_empty()) {
                let (household, region) = (&self.seat.household, self.region.as_ref());
                self.seat.shared.aggregate.note_playing(household, region, played).await;
            }
            if let Some(answer) = batch.erase {
                let span = batch.span.unwrap_or_else(tracing::Span::none);
                return Some(self.erase(answer).instrument(span).await);
            }
            if batch.stop {
                return Some(CloseCode::Restart);
            }
        }
    }

    /// Ends the room, whose commit failed: nobody is told that anything was done.
    fn refuse_all(&self, batch: Batch, error: &StoreError) -> CloseCode {
        let _in = batch.span().entered();
        tracing::warn!(household = %self.seat.household, %error, "a room ends");
        let code = error.close_code();
        for effect in batch.effects {
            if let Effect::Answer(_, refused) = effect {
                // Who asked may have gone.
                let _ = refused.send(code);
            }
        }
        code
    }

    /// Erases the household; what the room still has of it goes with the room.
    async fn erase(&self, answer: oneshot::Sender<Result<bool, CloseCode>>) -> CloseCode {
        let erased = self.seat.shared.store.erase(&self.seat.household).await;
        let (erased, code) = match erased {
            Ok(existed) => (Ok(existed), CloseCode::Erased),
            Err(error) => {
                tracing::error!(code = error.code(), %error, "a household could not be erased");
                (Err(error.close_code()), error.close_code())
            }
        };
        // Who asked may have gone.
        let _ = answer.send(erased);
        code
    }

    async fn persist(&self, commit: Commit) -> Result<(), StoreError> {
        let (asked, metrics) = (Instant::now(), &self.seat.shared.metrics);
        let committed = self.seat.shared.store.commit(&self.seat.household, commit).await;
        match &committed {
            Ok(()) => {
                metrics.observe(Timing::Commit, asked.elapsed());
                metrics.add(Count::Commits, 1);
            }
            Err(_) => metrics.add(Count::CommitsFailed, 1),
        }
        committed
    }

    /// The next message, or what else there is to do.
    async fn next(&mut self, inbox: &mut Inbox) -> Next {
        let idle = self.outboxes.is_empty() && self.listeners.is_empty();
        let idle_at = tokio::time::Instant::now() + self.seat.shared.limits.room_idle;
        let due = self.dispatch.next_due();
        let until = if idle { Some(due.unwrap_or(idle_at)) } else { due };
        let received = match until {
            Some(until) => timeout_at(until, inbox.recv()).await,
            None => Ok(inbox.recv().await),
        };
        match received {
            Ok(Some(message)) => Next::Message(message),
            Err(_) if due.is_some() => Next::Due,
            Ok(None) | Err(_) => Next::Idle,
        }
    }

    /// Takes a message on behalf of who sent it.
    fn accept(&mut self, envelope: Envelope, batch: &mut Batch) {
        let Envelope { message, span } = envelope;
        span.in_scope(|| self.take(message, batch));
        match &batch.span {
            Some(first) => drop(first.follows_from(&span)),
            None => batch.span = Some(span),
        }
    }

    fn take(&mut self, message: RoomMessage, batch: &mut Batch) {
        let now = now();
        self.seat.shared.metrics.add(Count::Inputs, 1);
        let input = match message {
            RoomMessage::Join {
                connection,
                device,
                region,
                hello,
                may_write,
                may_control,
                outbox,
            } => {
                self.region = region.or(self.region.take());
                self.outboxes.insert(connection, outbox);
                self.dispatch.join(connection, device.clone(), may_control);
                self.presence.join(connection, device, now);
                RoomInput::Hello { connection, hello: *hello, may_write }
            }
            RoomMessage::Frame { connection, bytes, at, share } => {
                batch.shares.push(share);
                batch.arrivals.push(at);
                self.presence.hear(connection, now);
                if self.commanded(connection, &bytes, batch) {
                    return;
                }
                self.frame(now, connection, bytes.into(), batch);
                return;
            }
            RoomMessage::Listen { connection, device, may_control, outbox } => {
                if self.listeners.len() >= LISTENERS_MAX {
                    outbox.close(CloseCode::Overloaded);
                } else {
                    self.listeners.insert(connection, outbox);
                    self.dispatch.join(connection, device.clone(), may_control);
                    self.presence.join(connection, device, now);
                }
                return;
            }
            RoomMessage::Written(from, id) => {
                batch.relay(self.dispatch.written(from, id));
                return;
            }
            RoomMessage::Leave(connection) => {
                self.outboxes.remove(&connection);
                self.listeners.remove(&connection);
                self.left(connection, now);
                RoomInput::Closed(connection)
            }
            RoomMessage::Call(call) => {
                self.call(call, now, batch);
                return;
            }
            RoomMessage::Erase(answer) => {
                batch.stop = true;
                batch.erase = Some(answer);
                return;
            }
            RoomMessage::Stop => {
                batch.stop = true;
                return;
            }
        };
        batch.add(self.room.handle(now, input));
    }

    /// Does what a request asks for.
    fn call(&mut self, call: Call, now: UnixMillis, batch: &mut Batch) {
        let Self { room, presence, dispatch, region, .. } = self;
        let mut orders = Vec::new();
        let view = RoomView { room, presence, dispatch, orders: &mut orders, now, region };
        let CallResult { outputs, answer } = (call.work)(view);
        batch.add(outputs);
        batch.relay(orders);
        batch.effects.push(Effect::Answer(answer, call.refused));
    }

    /// Tells the connections that speak JSON; who reads too slowly loses the socket.
    fn tell(&mut self, news: &[String]) {
        for text in news {
            let full = self
                .listeners
                .extract_if(|_, outbox| outbox.push(text.clone().into_bytes()).is_err());
            let full: Vec<_> = full.collect();
            for (connection, outbox) in full {
                self.left(connection, now());
                outbox.close_now(CloseCode::Slow);
            }
        }
    }

    /// Sends and closes, in order; all that was to be persisted is.
    /// `first`: when the earliest of their causes came, if they are frames.
    fn carry_out(&mut self, effects: Vec<Effect>, first: Option<Instant>) {
        for effect in effects {
            match effect {
                Effect::Send(connection, frame) => self.send(connection, frame, first),
                Effect::Close(connection, code) => {
                    let binary = self.outboxes.remove(&connection);
                    if let Some(outbox) = binary.or_else(|| self.listeners.remove(&connection)) {
                        self.left(connection, now());
                        outbox.close(code);
                    }
                }
                Effect::Answer(answer, _) => answer(),
                Effect::Relay(RelayOutput::Order { to, order, left_ms }, decided) => {
                    let deadline = decided + Duration::from_millis(left_ms);
                    self.order(to, order, left_ms, deadline);
                }
                Effect::Relay(RelayOutput::Outcome { from, sender, id, outcome }, _) => {
                    match sender {
                        Some(sender) => self.send(sender, ServerFrame::status(id, outcome), None),
                        None => self.dispatch.tell(from, id, outcome),
                    }
                }
            }
        }
    }

    /// Who reads too slowly loses the socket.
    fn send(&mut self, connection: ConnectionId, frame: Vec<u8>, first: Option<Instant>) {
        let since = first.filter(|_| ServerFrame::is_update(&frame));
        let full = self.outboxes.get(&connection).map(|outbox| match since {
            Some(since) => outbox.push_update(frame, since),
            None => outbox.push(frame),
        });
        if let Some(Err(_)) = full
            && let Some(outbox) = self.outboxes.remove(&connection)
        {
            self.left(connection, now());
            outbox.close_now(CloseCode::Slow);
            self.room.handle(now(), RoomInput::Closed(connection));
        }
    }

    /// Hands a command to a session. If that is not possible its life ends, and its sender hears so.
    fn order(&self, to: ConnectionId, order: Order, left_ms: u64, deadline: tokio::time::Instant) {
        if let Some(outbox) = self.outboxes.get(&to) {
            let bytes = ServerFrame::order(&order).into();
            let _ = outbox.deliver(Delivery { bytes, deadline, written: None });
        } else if let Some(outbox) = self.listeners.get(&to) {
            let Order { id, from, command, .. } = order;
            let bytes = message(id, &from, &command, left_ms, now()).into();
            let inbox = self.seat.inbox.clone();
            let written = Box::new(move || {
                if let Some(inbox) = inbox.upgrade() {
                    // A room that has ended waits for nothing.
                    let _ = inbox.send(RoomMessage::Written(from, id).into());
                }
            });
            let _ = outbox.deliver(Delivery { bytes, deadline, written: Some(written) });
        }
    }

    /// Takes a frame of the household's, and counts the operations in it: who has sent more than the
    /// quota allows loses the socket after what came of them.
    fn frame(&mut self, now: UnixMillis, id: ConnectionId, bytes: Vec<u8>, batch: &mut Batch) {
        let before = self.room.operations();
        batch.add(self.room.handle(now, RoomInput::Frame { connection: id, bytes }));
        let operations = usize::try_from(self.room.operations() - before).unwrap_or(usize::MAX);
        let Some(device) = self.presence.device(id).filter(|_| operations > 0) else { return };
        let household = &self.seat.household;
        if self.seat.shared.quota.charge(household, device, Of::Operations, operations).is_err() {
            self.room.handle(now, RoomInput::Closed(id));
            batch.effects.push(Effect::Close(id, CloseCode::RateLimited));
        }
    }

    /// Takes a frame that is about commands; false when it is not.
    fn commanded(&mut self, connection: ConnectionId, bytes: &[u8], batch: &mut Batch) -> bool {
        let mut orders = Vec::new();
        let known = Known { household: self.room.household(), presence: &self.presence };
        let taken = self.dispatch.frame(connection, bytes, known, &mut orders);
        batch.relay(orders);
        if taken == Some(Watch::Yes) {
            let all = self.presence.devices().cloned().collect();
            let frame = self.presence.frame(true, &all, now());
            batch.effects.push(Effect::Send(connection, frame));
        }
        taken.is_some()
    }

    fn left(&mut self, connection: ConnectionId, now: UnixMillis) {
        self.presence.leave(connection, now);
        self.dispatch.leave(connection);
    }

    /// Tells who wants to know which devices came or went, if any did.
    fn tell_presence(&mut self) -> bool {
        let (changes, all) = self.presence.take_changes();
        if changes.is_empty() {
            return false;
        }
        let known = self.presence.devices().cloned().collect();
        let frame = self.presence.frame(all, if all { &known } else { &changes }, now());
        let watchers = self.dispatch.watchers().clone();
        watchers.into_iter().for_each(|watcher| self.send(watcher, frame.clone(), None));
        true
    }

    /// Stores when devices were heard of, at once or when it is time. It is no loss if that fails.
    async fn store_seen(&mut self, at_once: bool) {
        let Some(unstored) = self.presence.unstored(at_once, now()) else { return };
        let Unstored { seen, forgotten } = unstored;
        let household = &self.seat.household;
        if let Err(error) = self.seat.shared.store.see(household, seen, forgotten).await {
            tracing::debug!(%household, %error, "when devices were heard of is not stored");
        }
    }
}
