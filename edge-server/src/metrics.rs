//! What the server counts and times, each named once, and how Prometheus reads it.
//!
//! Invariant: no label comes from outside. Routes, methods, statuses, codes are from lists of ours, so
//! nobody can make the server remember ever more of them, and nothing here names a household.

use crate::error::Kind;
use crate::log;
use axum::http::Method;
use omega_sync_core::message::CloseCode;
use omega_sync_core::operation::VoidReason;
use omega_sync_core::session::server::RoomTally;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

macro_rules! named {
    ($kind:ident, $what:literal, $($name:ident = $metric:literal $help:literal,)*) => {
        #[doc = $what]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $kind {
            $(#[doc = $help] $name,)*
        }

        impl $kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            fn name(self) -> &'static str {
                match self { $(Self::$name => $metric,)* }
            }

            fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

named! {
    Count, "What is counted.",
    FramesReceived = "omega_frames_received_total" "Frames that sockets received",
    BytesReceived = "omega_received_bytes_total" "Bytes of the frames that sockets received",
    FramesSent = "omega_frames_sent_total" "Frames that sockets sent",
    BytesSent = "omega_sent_bytes_total" "Bytes of the frames that sockets sent",
    Inputs = "omega_room_inputs_total" "Hellos, frames and requests that rooms dealt with",
    Commits = "omega_commits_total" "Commits that became durable",
    CommitsFailed = "omega_commits_failed_total" "Commits that the store refused",
    Loads = "omega_rooms_loaded_total" "Households that were loaded into a room",
    Operations = "omega_operations_total" "Operations that were taken",
    DeltaBytes = "omega_delta_bytes_total" "Bytes of the delta frames that devices sent",
    PlainBytes = "omega_plain_bytes_total" "What their operations would have as plain records",
    Differences = "omega_differences_total" "Devices that were brought up to date by what changed",
    DifferenceBytes = "omega_difference_bytes_total" "Bytes of these frames",
    States = "omega_states_total" "Devices that got the whole state",
    StateBytes = "omega_state_bytes_total" "Bytes of these frames",
    GzipPlainBytes = "omega_gzip_plain_bytes_total" "Bytes of the answers that were packed, before",
    GzipBytes = "omega_gzip_bytes_total" "Bytes of the answers that were packed, in gzip",
    Contributions = "omega_contributions_total" "Batches of patterns that were taken",
    EpochsClosed = "omega_epochs_closed_total" "Epochs of patterns that this node has closed",
    DaysClosed = "omega_days_closed_total" "Days of trends that this node has closed",
    BudgetRefusals = "omega_budget_refusals_total" "Releases that were left out: no budget left",
    PoisonAlarms = "omega_poison_alarms_total" "Clusters that may have been poisoned",
}

named! {
    Timing, "What is timed.",
    Request = "omega_request_seconds" "From a request's headers to the head of its answer",
    Answer = "omega_answer_seconds" "From a frame in its room to its ack, durable, on its way",
    FanOut = "omega_fanout_seconds" "From a frame in its room to its update, written to another socket",
    Commit = "omega_commit_seconds" "From a commit's leaving its room to its being durable",
    Load = "omega_load_seconds" "From asking for a household to its being loaded",
}

/// Upper bounds of a histogram's buckets, in microseconds.
const BUCKETS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

#[derive(Debug, Default)]
struct Histogram {
    /// One more than there are bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

type Requests = BTreeMap<(&'static str, String, u16), u64>;

/// All figures of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    counts: Vec<AtomicU64>,
    timings: Vec<Histogram>,
    closes: Vec<AtomicU64>,
    problems: Vec<AtomicU64>,
    /// Operations that were refused, by their reason.
    refused: Vec<AtomicU64>,
    /// By method, route and status.
    requests: Mutex<Requests>,
}

impl Default for Metrics {
    fn default() -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            counts: zeros(Count::ALL.len()),
            timings: Timing::ALL.iter().map(|_| Histogram::default()).collect(),
            closes: zeros(CloseCode::ALL.len()),
            problems: zeros(Kind::ALL.len()),
            refused: zeros(VoidReason::ALL.len()),
            requests: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts some more.
    pub(crate) fn add(&self, count: Count, more: usize) {
        self.counts[count as usize].fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Notes how long something took.
    pub(crate) fn observe(&self, timing: Timing, took: Duration) {
        self.timings[timing as usize].observe(took);
    }

    /// A socket was closed by the server.
    pub(crate) fn closed(&self, code: CloseCode) {
        if let Some(at) = CloseCode::ALL.iter().position(|other| *other == code) {
            self.closes[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a room did.
    pub(crate) fn done(&self, tally: &RoomTally) {
        let RoomTally { operations, refused, delta_bytes, plain_bytes, .. } = *tally;
        for (count, more) in [
            (Count::Operations, operations),
            (Count::DeltaBytes, delta_bytes),
            (Count::PlainBytes, plain_bytes),
            (Count::Differences, tally.differences),
            (Count::DifferenceBytes, tally.difference_bytes),
            (Count::States, tally.states),
            (Count::StateBytes, tally.state_bytes),
        ] {
            self.counts[count as usize].fetch_add(more, Ordering::Relaxed);
        }
        for (count, more) in self.refused.iter().zip(refused) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// A request was answered with a problem.
    pub(crate) fn refused(&self, kind: Kind) {
        self.problems[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over.
    pub(crate) fn requested(&self, method: &Method, route: &str, status: u16, took: Duration) {
        self.observe(Timing::Request, took);
        let key = (word(method), route.to_owned(), status);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(key).or_default() += 1;
    }

    /// Everything in Prometheus' text format, and values of the moment before it: name, help, value.
    pub(crate) fn write(&self, gauges: &[(&str, &str, usize)]) -> String {
        let mut text = String::new();
        for (name, help, value) in gauges {
            head(&mut text, name, help, "gauge");
            line(&mut text, format_args!("{name} {value}"));
        }
        for (count, value) in Count::ALL.iter().zip(&self.counts) {
            head(&mut text, count.name(), count.help(), "counter");
            line(&mut text, format_args!("{} {}", count.name(), read(value)));
        }
        for (timing, histogram) in Timing::ALL.iter().zip(&self.timings) {
            write_histogram(&mut text, *timing, histogram);
        }
        head(&mut text, DROPPED.0, DROPPED.1, "counter");
        line(&mut text, format_args!("{} {}", DROPPED.0, log::dropped()));
        let name = "omega_closes_total";
        head(&mut text, name, "Sockets that the server closed, by their close code", "counter");
        for (code, value) in CloseCode::ALL.iter().zip(&self.closes) {
            let (code, value) = (code.reason(), read(value));
            line(&mut text, format_args!("{name}{{code=\"{code}\"}} {value}"));
        }
        let name = "omega_problems_total";
        head(&mut text, name, "Requests that were answered with a problem, by its code", "counter");
        for (kind, value) in Kind::ALL.iter().zip(&self.problems) {
            let (code, value) = (kind.code(), read(value));
            line(&mut text, format_args!("{name}{{code=\"{code}\"}} {value}"));
        }
        let name = "omega_refused_operations_total";
        head(&mut text, name, "Operations that were refused for good, by the reason", "counter");
        for (reason, value) in VoidReason::ALL.iter().zip(&self.refused) {
            let (reason, value) = (reason.code(), read(value));
            line(&mut text, format_args!("{name}{{reason=\"{reason}\"}} {value}"));
        }
        let name = "omega_requests_total";
        head(&mut text, name, "Requests, by method, route and status", "counter");
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route, status), value) in requests.iter() {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            line(&mut text, format_args!("{name}{{{labels}}} {value}"));
        }
        text
    }
}

fn read(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn line(text: &mut String, line: std::fmt::Arguments) {
    // Writing to a text can't fail.
    let _ = writeln!(text, "{line}");
}

fn write_histogram(text: &mut String, timing: Timing, histogram: &Histogram) {
    let name = timing.name();
    head(text, name, timing.help(), "histogram");
    let mut count = 0;
    for (at, bucket) in histogram.buckets.iter().enumerate() {
        count += read(bucket);
        let bound = BUCKETS.get(at).map(|micros| (*micros as f64 / 1e6).to_string());
        let bound = bound.unwrap_or_else(|| "+Inf".into());
        line(text, format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
    }
    let sum = read(&histogram.sum_micros) as f64 / 1e6;
    line(text, format_args!("{name}_sum {sum}\n{name}_count {count}"));
}

/// A method's name; all that are none of HTTP's own have one together.
fn word(method: &Method) -> &'static str {
    let known = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    known.iter().find(|(other, _)| other == method).map_or("other", |(_, word)| word)
}

/// Counted by the log itself.
const DROPPED: (&str, &str) =
    ("omega_log_lines_dropped_total", "Lines of the log that were dropped: nobody read them");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_up_to_their_bound() {
        let metrics = Metrics::default();
        for micros in [0, 100, 101, 5_000_000, 5_000_001] {
            metrics.observe(Timing::Commit, Duration::from_micros(micros));
        }
        let text = metrics.write(&[]);
        for (bound, count) in [("0.0001", 2), ("0.00025", 3), ("1", 3), ("5", 4), ("+Inf", 5)] {
            let line = format!("omega_commit_seconds_bucket{{le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("omega_commit_seconds_count 5\n"));
        assert!(text.contains("omega_commit_seconds_sum 10.000202\n"), "{text}");
    }

    #[test]
    fn a_method_of_one_s_own_makes_no_label() {
        let metrics = Metrics::default();
        for method in ["BREW", "WHEN", "GET"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            metrics.requested(&method, "/health", 200, Duration::ZERO);
        }
        let text = metrics.write(&[]);
        let other = "omega_requests_total{method=\"other\",route=\"/health\",status=\"200\"} 2\n";
        assert!(text.contains(other) && !text.contains("BREW"), "{text}");
    }
}
