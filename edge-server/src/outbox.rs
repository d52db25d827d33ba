//! Frames on their way from a room to one socket: bounded in number and bytes.
//!
//! A room never waits for a socket. Whoever reads too slowly loses the socket, which is safe: the
//! client catches up from its cursor. Losing a frame and going on would not be.

use crate::limits::Limits;
use bytes::Bytes;
use omega_sync_core::message::CloseCode;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A command for the device at the other end.
pub(crate) struct Delivery {
    /// The message.
    pub(crate) bytes: Bytes,
    /// When it is too late to write it.
    pub(crate) deadline: Instant,
    /// Called when it is written, for a device that can't answer.
    pub(crate) written: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What a socket has to do next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Write a frame.
    Frame(Bytes),
    /// Write an update, and note how long it took since its cause came.
    Update(Bytes, std::time::Instant),
    /// Write a command, if its time is not over, and say so.
    Command(Delivery),
    /// Close; all frames before it were written.
    Close(CloseCode),
}

/// The limit of an outbox is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The room's end.
pub(crate) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
    urgent: watch::Sender<Option<CloseCode>>,
}

/// The socket's end.
pub(crate) struct OutboxReader {
    queue: mpsc::Receiver<Outgoing>,
    waiting: Arc<Waiting>,
    urgent: watch::Receiver<Option<CloseCode>>,
}

/// All outboxes of a server, whose bytes are bounded together.
pub(crate) struct Outboxes {
    frames_max: usize,
    bytes_max: usize,
    all_bytes_max: usize,
    all: Arc<AtomicUsize>,
}

impl Outboxes {
    /// None yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            frames_max: limits.outbox_frames_max,
            bytes_max: limits.outbox_bytes_max,
            all_bytes_max: limits.outboxes_bytes_max,
            all: Arc::default(),
        }
    }

    /// Both ends of one more.
    pub(crate) fn open(&self) -> (Outbox, OutboxReader) {
        let (sender, receiver) = mpsc::channel(self.frames_max);
        let (urgent, fired) = watch::channel(None);
        let (max, all_max) = (self.bytes_max, self.all_bytes_max);
        let waiting = Waiting { own: AtomicUsize::new(0), max, all: self.all.clone(), all_max };
        let waiting = Arc::new(waiting);
        let outbox = Outbox { queue: sender, waiting: waiting.clone(), urgent };
        (outbox, OutboxReader { queue: receiver, waiting, urgent: fired })
    }

    /// Bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }
}

/// Bytes that wait in one outbox, and in all. They are given back at the latest with both its ends.
struct Waiting {
    own: AtomicUsize,
    max: usize,
    all: Arc<AtomicUsize>,
    all_max: usize,
}

impl Waiting {
    /// Only the room adds, so nothing of this outbox grows between the check and the addition. When
    /// all have too much, who keeps up, so that nothing waits for it, still gets its frame.
    fn add(&self, size: usize) -> Result<(), Full> {
        let (own, all) = (self.own.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed));
        if own + size > self.max || (own > 0 && all + size > self.all_max) {
            return Err(Full);
        }
        self.own.fetch_add(size, Ordering::Relaxed);
        self.all.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }

    fn take(&self, size: usize) {
        self.own.fetch_sub(size, Ordering::Relaxed);
        self.all.fetch_sub(size, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

impl Outbox {
    /// Adds a frame.
    pub(crate) fn push(&self, frame: Vec<u8>) -> Result<(), Full> {
        let size = frame.len();
        self.add(size, Outgoing::Frame(frame.into()))
    }

    /// Adds an update, whose cause came at a time.
    pub(crate) fn push_update(
        &self,
        frame: Vec<u8>,
        since: std::time::Instant,
    ) -> Result<(), Full> {
        let size = frame.len();
        self.add(size, Outgoing::Update(frame.into(), since))
    }

    fn add(&self, size: usize, outgoing: Outgoing) -> Result<(), Full> {
        self.waiting.add(size)?;
        match self.queue.try_send(outgoing) {
            // A socket that is gone says so to the room itself.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Full),
        }
    }

    /// Adds a command.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<(), Full> {
        let size = delivery.bytes.len();
        self.waiting.add(size)?;
        self.queue.try_send(Outgoing::Command(delivery)).map_err(|_| {
            // The socket lives on without it.
            self.waiting.take(size);
            Full
        })
    }

    /// Closes the socket when it has written what waits.
    pub(crate) fn close(self, code: CloseCode) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(Outgoing::Close(code))
        {
            self.close_now(code);
        }
    }

    /// Closes the socket without the frames that wait.
    pub(crate) fn close_now(self, code: CloseCode) {
        self.urgent.send_replace(Some(code));
    }
}

impl OutboxReader {
    /// Waits for what to do next. A room that ended without a word has failed: the client comes
    /// again.
    pub(crate) async fn next(&mut self) -> Outgoing {
        match self.queue.recv().await {
            Some(outgoing) => outgoing,
            None => Outgoing::Close(self.urgent.borrow().unwrap_or(CloseCode::Restart)),
        }
    }

    /// What to do next, if it is known already.
    pub(crate) fn try_next(&mut self) -> Option<Outgoing> {
        self.queue.try_recv().ok()
    }

    /// A frame of this size was written.
    pub(crate) fn written(&self, size: usize) {
        self.waiting.take(size);
    }

    /// A future that ends when the socket must be closed at once.
    pub(crate) fn urgent(&self) -> impl Future<Output = CloseCode> + use<> {
        let mut urgent = self.urgent.clone();
        async move {
            if let Ok(code) = urgent.wait_for(Option::is_some).await
                && let Some(code) = *code
            {
                return code;
            }
            // The outbox was dropped or closed in the ordinary way.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it is, to compare.
    fn text(outgoing: &Outgoing) -> String {
        format!("{outgoing:?}")
    }

    fn limits(frames: usize, bytes: usize) -> Limits {
        Limits { outbox_frames_max: frames, outbox_bytes_max: bytes, ..Limits::default() }
    }

    fn outbox(limits: Limits) -> (Outbox, OutboxReader) {
        Outboxes::new(&limits).open()
    }

    #[tokio::test]
    async fn all_are_bounded_together_and_who_keeps_up_gets_its_frame() {
        let limits = Limits { outboxes_bytes_max: 10, ..limits(8, 8) };
        let all = Outboxes::new(&limits);
        let ((slow, mut slow_end), (other, other_end)) = (all.open(), all.open());
        assert_eq!(slow.push(vec![1; 6]), Ok(()));
        assert_eq!(other.push(vec![1; 3]), Ok(()));
        assert_eq!(slow.push(vec![1]), Ok(()), "to the last byte");
        assert_eq!(slow.push(vec![1]), Err(Full));
        assert_eq!(other.push(vec![1]), Err(Full));
        let (prompt, mut prompt_end) = all.open();
        assert_eq!(prompt.push(vec![1; 8]), Ok(()), "nothing waits for it");
        prompt_end.next().await;
        prompt_end.written(8);
        assert_eq!(all.bytes(), 10);
        slow_end.next().await;
        drop((slow, slow_end));
        assert_eq!(all.bytes(), 3, "what was not written is given back too");
        assert_eq!(other.push(vec![1; 5]), Ok(()));
        drop((other, other_end, prompt, prompt_end));
        assert_eq!(all.bytes(), 0);
    }

    #[tokio::test]
    async fn bytes_are_bounded_until_they_are_written() {
        let (outbox, mut reader) = outbox(limits(8, 10));
        assert_eq!(outbox.push(vec![1; 6]), Ok(()));
        assert_eq!(outbox.push(vec![2; 4]), Ok(()));
        assert_eq!(outbox.push(vec![3]), Err(Full));
        assert_eq!(text(&reader.next().await), text(&Outgoing::Frame(vec![1; 6].into())));
        assert_eq!(outbox.push(vec![3]), Err(Full), "taken is not yet written");
        reader.written(6);
        assert_eq!(outbox.push(vec![3]), Ok(()));
    }

    #[tokio::test]
    async fn frames_are_bounded() {
        let (outbox, _reader) = outbox(limits(2, 100));
        assert_eq!(outbox.push(vec![1]), Ok(()));
        assert_eq!(outbox.push(vec![]), Ok(()));
        assert_eq!(outbox.push(vec![]), Err(Full));
    }

    #[tokio::test]
    async fn a_command_that_does_not_fit_takes_no_room() {
        let (outbox, mut reader) = outbox(limits(1, 10));
        let command = |length| Delivery {
            bytes: vec![0; length].into(),
            deadline: Instant::now(),
            written: None,
        };
        assert_eq!(outbox.deliver(command(11)), Err(Full));
        assert_eq!(outbox.deliver(command(5)), Ok(()));
        for _ in 0..5 {
            assert_eq!(outbox.deliver(command(5)), Err(Full), "the queue is full");
        }
        assert!(matches!(reader.next().await, Outgoing::Command(_)));
        reader.written(5);
        assert_eq!(outbox.deliver(command(10)), Ok(()), "all of the room is there again");
    }

    #[tokio::test]
    async fn a_close_comes_after_the_frames_before_it() {
        let (outbox, mut reader) = outbox(limits(2, 100));
        outbox.push(vec![1]).unwrap();
        outbox.close(CloseCode::Replaced);
        assert_eq!(text(&reader.next().await), text(&Outgoing::Frame(vec![1].into())));
        assert_eq!(text(&reader.next().await), text(&Outgoing::Close(CloseCode::Replaced)));
        assert_eq!(text(&reader.next().await), text(&Outgoing::Close(CloseCode::Restart)));
    }

    #[tokio::test]
    async fn a_close_of_a_full_outbox_does_not_wait() {
        let (outbox, mut reader) = outbox(limits(1, 100));
        let urgent = reader.urgent();
        outbox.push(vec![1]).unwrap();
        outbox.close(CloseCode::Slow);
        assert_eq!(urgent.await, CloseCode::Slow);
        assert_eq!(text(&reader.next().await), text(&Outgoing::Frame(vec![1].into())));
        assert_eq!(
            text(&reader.next().await),
            text(&Outgoing::Close(CloseCode::Slow)),
            "by either way"
        );
    }
}
