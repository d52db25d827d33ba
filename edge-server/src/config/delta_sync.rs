//! How devices catch up: one switch. An earlier sync service had two settings beside it, for when it
//! compressed; they are accepted by their names, so that its configuration starts this server too, and
//! have no effect: nothing is compressed here.

use clap::Args;

/// The flags of `serve` about it. A value that is none is an error: a typing error must not pass for
/// a setting.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeltaSyncArgs {
    /// Whether a device that returns gets what changed, and not the whole household
    #[arg(long = "delta-sync-enabled", value_name = "BOOL", default_value_t = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub enabled: bool,
    /// Accepted from an earlier service's configuration; has no effect, because nothing is compressed
    #[arg(long = "delta-sync-compression", value_name = "BOOL")]
    #[arg(action = clap::ArgAction::Set)]
    compression: Option<bool>,
    /// Accepted from an earlier service's configuration; has no effect, for the same reason
    #[arg(long = "delta-sync-min-batch-size", value_name = "N")]
    #[arg(value_parser = at_least_one)]
    min_batch_size: Option<usize>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it must be a number, 1 or more".into())
}

impl DeltaSyncArgs {
    /// What was set and has no effect, by the names of its variables.
    pub(crate) fn without_effect(self) -> impl Iterator<Item = &'static str> {
        let compression = self.compression.map(|_| "DELTA_SYNC_COMPRESSION");
        let min_batch_size = self.min_batch_size.map(|_| "DELTA_SYNC_MIN_BATCH_SIZE");
        compression.into_iter().chain(min_batch_size)
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
    fn what_is_set_without_effect_is_told() {
        let read = |flags: &[&str]| {
            let args = Flags::try_parse_from([&["x"], flags].concat()).ok()?.args;
            Some((args.enabled, args.without_effect().collect::<Vec<_>>()))
        };
        assert_eq!(read(&[]), Some((true, vec![])));
        assert_eq!(read(&["--delta-sync-enabled=false"]), Some((false, vec![])));
        let both = ["--delta-sync-compression=true", "--delta-sync-min-batch-size=10"];
        let names = vec!["DELTA_SYNC_COMPRESSION", "DELTA_SYNC_MIN_BATCH_SIZE"];
        assert_eq!(read(&both), Some((true, names)));
        for wrong in ["--delta-sync-compression=maybe", "--delta-sync-min-batch-size=0"] {
            assert_eq!(read(&[wrong]), None, "{wrong}");
        }
    }
}
