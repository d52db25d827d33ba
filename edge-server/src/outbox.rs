//! Frames on their way from a room to one socket: bounded in number and bytes.
//!
//! A room never waits for a socket. Whoever reads too slowly loses the socket, which is safe: the
//! client catches up from its cursor. Losing a frame and going on would not be.

use crate::limits::Limits;
use axum::body::Bytes;
use omega_sync_core::message::CloseCode;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A command for the device at the other end.
pub(crate) struct Delivery {
    /// What to write.
    pub(crate) bytes: Bytes,
    /// Until when.
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
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    urgent: watch::Sender<Option<CloseCode>>,
}

/// The socket's end.
pub(crate) struct OutboxReader {
    queue: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
    urgent: watch::Receiver<Option<CloseCode>>,
}

/// Makes both ends.
pub(crate) fn outbox(limits: &Limits) -> (Outbox, OutboxReader) {
    let (sender, receiver) = mpsc::channel(limits.outbox_frames_max);
    let (urgent, fired) = watch::channel(None);
    let bytes = Arc::new(AtomicUsize::new(0));
    let bytes_max = limits.outbox_bytes_max;
    let outbox = Outbox { queue: sender, bytes: bytes.clone(), bytes_max, urgent };
    (outbox, OutboxReader { queue: receiver, bytes, urgent: fired })
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
        // Only the room adds, so nothing grows between the check and the addition.
        if self.bytes.load(Ordering::Relaxed) + size > self.bytes_max {
            return Err(Full);
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        match self.queue.try_send(outgoing) {
            // A socket that is gone says so to the room itself.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Full),
        }
    }

    /// Adds a command.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<(), Full> {
        let size = delivery.bytes.len();
        if self.bytes.load(Ordering::Relaxed) + size > self.bytes_max {
            return Err(Full);
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.queue.try_send(Outgoing::Command(delivery)).map_err(|_| {
            // The socket lives on without it.
            self.bytes.fetch_sub(size, Ordering::Relaxed);
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
        self.bytes.fetch_sub(size, Ordering::Relaxed);
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

    #[tokio::test]
    async fn bytes_are_bounded_until_they_are_written() {
        let (outbox, mut reader) = outbox(&limits(8, 10));
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
        let (outbox, _reader) = outbox(&limits(2, 100));
        assert_eq!(outbox.push(vec![1]), Ok(()));
        assert_eq!(outbox.push(vec![]), Ok(()));
        assert_eq!(outbox.push(vec![]), Err(Full));
    }

    #[tokio::test]
    async fn a_command_that_does_not_fit_takes_no_room() {
        let (outbox, mut reader) = outbox(&limits(1, 10));
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
        let (outbox, mut reader) = outbox(&limits(2, 100));
        outbox.push(vec![1]).unwrap();
        outbox.close(CloseCode::Replaced);
        assert_eq!(text(&reader.next().await), text(&Outgoing::Frame(vec![1].into())));
        assert_eq!(text(&reader.next().await), text(&Outgoing::Close(CloseCode::Replaced)));
        assert_eq!(text(&reader.next().await), text(&Outgoing::Close(CloseCode::Restart)));
    }

    #[tokio::test]
    async fn a_close_of_a_full_outbox_does_not_wait() {
        let (outbox, mut reader) = outbox(&limits(1, 100));
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
