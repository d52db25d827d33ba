//! The log, on standard error, which holds nobody up: a pipe that nobody reads is no reason to stop.
//!
//! A line is handed to a thread that writes; what waits for it is bounded, and a line that finds no
//! place is dropped and counted. Invariant: who logs never waits.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written; further lines are dropped until there is place.
pub const LOG_BYTES_MAX: usize = 256 * 1024;
/// What a process that ends gives its last lines to be written.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Counted for each line on top of its bytes, for what else it takes in memory.
const LINE_OVERHEAD_BYTES: usize = 64;

/// Of the whole process: so is the log.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that were dropped.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Item {
    Line(Vec<u8>),
    /// To be told when all lines before it are written.
    Flush(SyncSender<()>),
}

/// Where the log's lines go.
#[derive(Clone)]
pub struct Log {
    lines: Sender<Item>,
    waiting: Arc<AtomicUsize>,
}

impl Log {
    /// A thread that writes to `out`.
    ///
    /// # Errors
    /// There can't be another thread.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, items) = channel();
        let log = Self { lines, waiting: Arc::default() };
        let waiting = log.waiting.clone();
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || write(out, &items, &waiting))?;
        Ok(log)
    }

    /// Waits until what was logged is written, but not for long.
    pub fn flush(&self) {
        let (done, told) = sync_channel(1);
        if self.lines.send(Item::Flush(done)).is_ok() {
            let _ = told.recv_timeout(LOG_FLUSH_TIMEOUT);
        }
    }

    fn line(&self, line: &[u8]) {
        let size = line.len() + LINE_OVERHEAD_BYTES;
        let fits = |waiting: usize| Some(waiting + size).filter(|all| *all <= LOG_BYTES_MAX);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.waiting.fetch_update(set, get, fits).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        } else {
            // The thread ends with the process.
            let _ = self.lines.send(Item::Line(line.to_vec()));
        }
    }
}

/// Writes what comes; says how many lines are missing where they are. A line that can't be written
/// is lost: there is nowhere to say so.
fn write(mut out: impl Write, items: &Receiver<Item>, waiting: &AtomicUsize) {
    let mut said = 0;
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(line) => {
                let _ = out.write_all(&line);
                waiting.fetch_sub(line.len() + LINE_OVERHEAD_BYTES, Ordering::Relaxed);
            }
            Item::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
        let dropped = dropped();
        if dropped > said {
            let told = format!("log: {} lines were dropped: nobody read them\n", dropped - said);
            let _ = out.write_all(told.as_bytes());
            said = dropped;
        }
    }
}

/// A line, as the subscriber writes it: in one piece.
pub struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing before it is told to.
    struct Stuck {
        go: Receiver<()>,
        text: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.text.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_find_no_place_are_dropped_counted_and_told() {
        let ((go, gone), (text, written)) = (channel(), channel());
        let log = Log::to(Stuck { go: gone, text }).unwrap();
        let line = vec![b'x'; 4 * 1024 - LINE_OVERHEAD_BYTES];
        let places = LOG_BYTES_MAX / (4 * 1024);
        let before = dropped();
        for _ in 0..places {
            log.line(&line);
        }
        assert_eq!(dropped(), before, "they fill it to the last byte");
        log.line(b"");
        log.line(&line);
        assert_eq!(dropped(), before + 2);
        drop(go);
        let all: Vec<Vec<u8>> = (0..=places).map(|_| written.recv().unwrap()).collect();
        assert_eq!(all.iter().filter(|written| **written == line).count(), places);
        let told = all.iter().find(|written| **written != line).unwrap();
        assert!(String::from_utf8_lossy(told).starts_with("log: "), "{told:?}");
        log.flush();
        log.line(&line);
        assert_eq!(written.iter().find(|text| *text == line), Some(line), "there is place again");
    }
}
