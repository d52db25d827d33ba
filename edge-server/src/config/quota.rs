//! Flags of `serve` that bound what devices and households send, open and keep.

use crate::limits::{
    BYTES_BURST_S, DEVICE_BYTES, DEVICE_OPERATIONS, DEVICE_SOCKETS_MAX, HOUSEHOLD_BYTES,
    HOUSEHOLD_OPERATIONS, HOUSEHOLD_SOCKETS_MAX, Limits, OPERATIONS_BURST_S, SOCKETS_MAX,
};
use crate::quota::{Allowance, Rate};
use clap::Args;
use omega_sync_core::household::ENTRIES_MAX;

/// Highest rate of bytes that can be set: 1 GiB a second.
const BYTE_RATE_MAX: u32 = 1024 * 1024 * 1024;

/// Quotas; 0 stands for any number.
#[derive(Debug, Clone, Copy, Args)]
pub struct QuotaArgs {
    /// Messages a second that one device may send on sockets, and operations in them, 0 for any number;
    /// those of 240 seconds at once
    #[arg(long, value_name = "N", default_value_t = DEVICE_OPERATIONS.per_second)]
    #[arg(value_parser = super::rate)]
    pub device_operations: u32,
    /// The same for all devices of a household together
    #[arg(long, value_name = "N", default_value_t = HOUSEHOLD_OPERATIONS.per_second)]
    #[arg(value_parser = super::rate)]
    pub household_operations: u32,
    /// Bytes a second that one device may send on sockets and in one-shot sessions, 0 for any number;
    /// those of 120 seconds at once
    #[arg(long, value_name = "N", default_value_t = DEVICE_BYTES.per_second, value_parser = bytes)]
    pub device_bytes: u32,
    /// The same for all devices of a household together
    #[arg(long, value_name = "N", default_value_t = HOUSEHOLD_BYTES.per_second)]
    #[arg(value_parser = bytes)]
    pub household_bytes: u32,
    /// Sockets that one device may have open, 0 for any number
    #[arg(long, value_name = "N", default_value_t = DEVICE_SOCKETS_MAX, value_parser = sockets)]
    pub device_sockets: usize,
    /// The same for all devices of a household together
    #[arg(long, value_name = "N", default_value_t = HOUSEHOLD_SOCKETS_MAX)]
    #[arg(value_parser = sockets)]
    pub household_sockets: usize,
    /// Titles that a household may have, in its watchlists and progress together
    #[arg(long, value_name = "N", default_value_t = ENTRIES_MAX, value_parser = entries)]
    pub household_entries: usize,
}

impl Default for QuotaArgs {
    fn default() -> Self {
        Self {
            device_operations: DEVICE_OPERATIONS.per_second,
            household_operations: HOUSEHOLD_OPERATIONS.per_second,
            device_bytes: DEVICE_BYTES.per_second,
            household_bytes: HOUSEHOLD_BYTES.per_second,
            device_sockets: DEVICE_SOCKETS_MAX,
            household_sockets: HOUSEHOLD_SOCKETS_MAX,
            household_entries: ENTRIES_MAX,
        }
    }
}

fn bytes(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| *bytes <= BYTE_RATE_MAX);
    bytes.ok_or_else(|| format!("use a number from 0 to {BYTE_RATE_MAX}"))
}

fn sockets(text: &str) -> Result<usize, String> {
    let sockets = text.parse().ok().filter(|sockets| *sockets <= SOCKETS_MAX);
    sockets.ok_or_else(|| format!("use a number from 0 to {SOCKETS_MAX}"))
}

fn entries(text: &str) -> Result<usize, String> {
    let entries = text.parse().ok().filter(|entries| (1..=ENTRIES_MAX).contains(entries));
    entries.ok_or_else(|| format!("use a number from 1 to {ENTRIES_MAX}"))
}

impl QuotaArgs {
    /// The limits with these in their places.
    pub(super) fn put_into(self, limits: Limits) -> Limits {
        let rate = |per_second: u32, burst_s| Rate {
            per_second,
            burst: per_second.saturating_mul(burst_s),
        };
        let allowance = |device, household, burst_s| Allowance {
            device: rate(device, burst_s),
            household: rate(household, burst_s),
        };
        let (operations, bytes) = (OPERATIONS_BURST_S, BYTES_BURST_S);
        Limits {
            operations: allowance(self.device_operations, self.household_operations, operations),
            bytes: allowance(self.device_bytes, self.household_bytes, bytes),
            device_sockets_max: self.device_sockets,
            household_sockets_max: self.household_sockets,
            entries_max: self.household_entries,
            ..limits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        quota: QuotaArgs,
    }

    fn limits(words: &[&str]) -> Result<Limits, String> {
        let words = ["test"].iter().chain(words);
        let flags = Flags::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(flags.quota.put_into(Limits::default()))
    }

    #[test]
    fn without_flags_the_limits_are_the_usual_ones() {
        let (usual, read) = (Limits::default(), limits(&[]).unwrap());
        assert_eq!((read.operations, read.bytes), (usual.operations, usual.bytes));
        assert_eq!(read.entries_max, ENTRIES_MAX);
        assert_eq!(read.device_sockets_max, DEVICE_SOCKETS_MAX);
        let burst = read.operations.device.burst;
        let outbox = omega_sync_core::outbox::OUTBOX_OPERATIONS_MAX;
        assert!(burst as usize > outbox, "a full outbox passes at once");
    }

    #[test]
    fn flags_change_what_they_name_and_are_checked() {
        let read = limits(&["--device-operations", "0", "--household-entries", "10"]).unwrap();
        assert_eq!((read.operations.device, read.entries_max), (Rate::ANY, 10));
        assert_eq!(read.operations.household, HOUSEHOLD_OPERATIONS);
        for wrong in [
            ["--household-entries", "0"],
            ["--household-entries", "5001"],
            ["--device-sockets", "10001"],
            ["--device-bytes", "1073741825"],
            ["--household-operations", "-1"],
        ] {
            assert!(limits(&wrong).is_err(), "{wrong:?}");
        }
    }
}
