//! Settings by the names of the service that this one replaces, and what is left of them.

use clap::Args;

/// How devices catch up, and what may be done to bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaSync {
    /// Whether a device that returns gets what changed; if not, it always gets the whole state. What
    /// happens while it is connected travels as updates in any case.
    pub enabled: bool,
    /// Whether a body may be compressed where that makes it smaller. None of ours gets smaller, so none
    /// is compressed, and this changes nothing.
    pub compression: bool,
    /// From how many operations on a body may be compressed: it changes nothing for the same reason, and
    /// never holds an operation back.
    pub min_batch_size: usize,
}

impl Default for DeltaSync {
    fn default() -> Self {
        Self { enabled: true, compression: true, min_batch_size: 3 }
    }
}

/// The flags of `serve` about it. A value that is none is an error: a typing error must not pass for
/// a setting.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeltaSyncArgs {
    /// Whether a device that returns gets what changed, and not the whole household
    #[arg(long = "delta-sync-enabled", value_name = "BOOL", default_value_t = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub enabled: bool,
    /// Taken and checked; without effect, because no body gets smaller by compression
    #[arg(long = "delta-sync-compression", value_name = "BOOL", default_value_t = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub compression: bool,
    /// Taken and checked; without effect, for the same reason
    #[arg(long = "delta-sync-min-batch-size", value_name = "N", default_value_t = 3)]
    #[arg(value_parser = at_least_one)]
    pub min_batch_size: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it must be a number, 1 or more".into())
}

impl From<DeltaSyncArgs> for DeltaSync {
    fn from(args: DeltaSyncArgs) -> Self {
        let DeltaSyncArgs { enabled, compression, min_batch_size } = args;
        Self { enabled, compression, min_batch_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        args: DeltaSyncArgs,
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let read = |flags: &[&str]| -> DeltaSync {
            Flags::parse_from([&["x"], flags].concat()).args.into()
        };
        assert_eq!(read(&[]), DeltaSync::default());
        let set = [
            "--delta-sync-enabled=false",
            "--delta-sync-compression=false",
            "--delta-sync-min-batch-size=10",
        ];
        let wanted = DeltaSync { enabled: false, compression: false, min_batch_size: 10 };
        assert_eq!(read(&set), wanted);
    }
}
