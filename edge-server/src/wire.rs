//! A TCP connection that does not let its other end hold it: who takes nothing for a while loses it,
//! and who has shown no token can't send much.
//!
//! It lies under TLS, HTTP and WebSockets, so that all of them have the same bounds. Invariants: no
//! write waits longer than [`WRITE_TIMEOUT`](crate::limits::WRITE_TIMEOUT) without progress; a
//! WebSocket reads no more than its [`Credit`].

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Read at once from a connection whose bytes are counted.
const PIECE_BYTES: usize = 1024;

/// How many bytes a connection may still send.
#[derive(Debug)]
pub(crate) struct Credit(AtomicUsize);

impl Credit {
    const ANY: usize = usize::MAX;

    /// For as many as it likes, as other layers bound them.
    pub(crate) fn any() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(Self::ANY)))
    }

    /// From now on so many.
    pub(crate) fn limit(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// From now on as many as it likes.
    pub(crate) fn lift(&self) {
        self.limit(Self::ANY);
    }

    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Only the connection's task reads and uses it; whoever lifts it meanwhile wins.
    fn spend(&self, bytes: usize) {
        let spent = |left: usize| (left != Self::ANY).then(|| left.saturating_sub(bytes));
        // Where there is no limit nothing is spent.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
    }
}

/// A connection with its bounds.
pub(crate) struct Wire<S> {
    stream: S,
    patience: Duration,
    credit: Arc<Credit>,
    /// Since the other end took nothing more: when that has lasted too long.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// One that fails when the other end takes nothing for this long.
    pub(crate) fn new(stream: S, patience: Duration, credit: Arc<Credit>) -> Self {
        Self { stream, patience, credit, stalled: None }
    }

    /// What a write came to, or that it took too long.
    fn in_time<T>(&mut self, context: &mut Context, write: Poll<Result<T>>) -> Poll<Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let patience = self.patience;
        let end = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        end.as_mut().poll(context).map(|()| Err(Error::from(ErrorKind::TimedOut)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        buffer: &mut ReadBuf,
    ) -> Poll<Result<()>> {
        let left = self.credit.left();
        if left == Credit::ANY {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        if left == 0 {
            return Poll::Ready(Err(Error::from(ErrorKind::QuotaExceeded)));
        }
        let mut piece = [0; PIECE_BYTES];
        let size = PIECE_BYTES.min(left).min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut piece[..size]);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut piece);
        self.credit.spend(piece.filled().len());
        buffer.put_slice(piece.filled());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        pieces: &[IoSlice],
    ) -> Poll<Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.in_time(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    /// So that a test need not wait long.
    const SHORT: Duration = Duration::from_millis(50);
    /// Nothing here takes longer, unless it never ends.
    const DEADLINE: Duration = Duration::from_secs(20);
    /// So that nothing ends by itself.
    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn who_takes_nothing_loses_the_connection() {
        let (ours, _theirs) = duplex(4);
        let mut wire = Wire::new(ours, SHORT, Credit::any());
        wire.write_all(b"full").await.unwrap();
        let write = timeout(DEADLINE, wire.write_all(b"more"));
        let error = write.await.expect("an end").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_takes_something_has_all_the_time_again() {
        let (ours, mut theirs) = duplex(4);
        let mut wire = Wire::new(ours, LONG, Credit::any());
        wire.write_all(b"full").await.unwrap();
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut wire).poll_write(&mut nobody, b"more").is_pending());
        assert!(wire.stalled.is_some());
        theirs.read_u8().await.unwrap();
        wire.write_u8(1).await.unwrap();
        assert!(wire.stalled.is_none());
    }

    #[tokio::test]
    async fn credit_is_for_so_many_bytes_until_it_is_lifted() {
        let (ours, mut theirs) = duplex(8 * PIECE_BYTES);
        let credit = Credit::any();
        let mut wire = Wire::new(ours, LONG, credit.clone());
        let mut all = vec![1; 3 * PIECE_BYTES + 1];
        theirs.write_all(&all).await.unwrap();
        credit.limit(2 * PIECE_BYTES);
        wire.read_exact(&mut all[..2 * PIECE_BYTES]).await.unwrap();
        let error = wire.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        credit.lift();
        wire.read_exact(&mut all[..PIECE_BYTES + 1]).await.unwrap();
        credit.limit(1);
        theirs.write_all(b"ab").await.unwrap();
        assert_eq!(wire.read(&mut [0; 2]).await.unwrap(), 1);
    }
}
