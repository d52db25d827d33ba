//! Settings by the names of the service that this one replaces, and what is left of them.

use crate::error::StartError;

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

impl DeltaSync {
    /// Reads `DELTA_SYNC_ENABLED`, `DELTA_SYNC_COMPRESSION` (true or false) and
    /// `DELTA_SYNC_MIN_BATCH_SIZE` (1 or more); what is not set has its default.
    ///
    /// # Errors
    /// A value is none of these: a typing error must not pass for a setting.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let default = Self::default();
        let switch = |name: &str, default: bool| match variable(name).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(text) => {
                let usage = format!("{name} must be true or false, not '{text}'");
                Err(StartError::Usage(usage))
            }
        };
        let name = "DELTA_SYNC_MIN_BATCH_SIZE";
        let min_batch_size = match variable(name) {
            None => default.min_batch_size,
            Some(text) => text.parse().ok().filter(|size| *size > 0).ok_or_else(|| {
                StartError::Usage(format!("{name} must be a number, 1 or more, not '{text}'"))
            })?,
        };
        Ok(Self {
            enabled: switch("DELTA_SYNC_ENABLED", default.enabled)?,
            compression: switch("DELTA_SYNC_COMPRESSION", default.compression)?,
            min_batch_size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<DeltaSync, String> {
        let value = |name: &str| set.iter().find(|(known, _)| *known == name);
        DeltaSync::read(|name| value(name).map(|(_, text)| (*text).to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(read(&[]), Ok(DeltaSync::default()));
        let set = [
            ("DELTA_SYNC_ENABLED", "false"),
            ("DELTA_SYNC_COMPRESSION", "false"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", "10"),
        ];
        let wanted = DeltaSync { enabled: false, compression: false, min_batch_size: 10 };
        assert_eq!(read(&set), Ok(wanted));
    }

    #[test]
    fn a_typing_error_is_no_setting() {
        for (name, text) in [
            ("DELTA_SYNC_ENABLED", "no"),
            ("DELTA_SYNC_COMPRESSION", "TRUE"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", "0"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", "three"),
            ("DELTA_SYNC_MIN_BATCH_SIZE", ""),
        ] {
            let error = read(&[(name, text)]).unwrap_err();
            assert!(error.contains(name) && error.contains(text), "{error}");
        }
    }
}
