//! First plays of a day, as a room sees them in what it commits.

use crate::aggregate::settings::day;
use crate::aggregate::trends::TITLES_OF_DAY_MAX;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::ContentId;
use omega_sync_core::operation::{Change, Operation, PlayState};
use std::collections::BTreeSet;

/// What was told already today, so that the usual progress update costs nothing. The store has the
/// last word: another node, or this room before it slept, may have told it too.
#[derive(Debug, Default)]
pub(crate) struct FirstPlays {
    day: u64,
    told: BTreeSet<ContentId>,
}

impl FirstPlays {
    /// Titles that operations say are playing and that were not told today; at most so many a day.
    pub(crate) fn of(&mut self, operations: &[Operation], now: UnixMillis) -> BTreeSet<ContentId> {
        let today = day(now);
        if today != self.day {
            *self = Self { day: today, told: BTreeSet::new() };
        }
        let mut played = BTreeSet::new();
        for operation in operations {
            let Change::Progress(content, Some(progress)) = &operation.change else { continue };
            let is_playing = progress.state == PlayState::Playing;
            let room = self.told.len() < TITLES_OF_DAY_MAX;
            if is_playing && room && self.told.insert(content.clone()) {
                played.insert(content.clone());
            }
        }
        played
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::settings::DAY_MS;
    use omega_sync_core::clock::Timestamp;
    use omega_sync_core::id::ProfileId;
    use omega_sync_core::operation::Progress;

    fn operations(titles: &[(&str, PlayState)]) -> Vec<Operation> {
        let operations = titles.iter().enumerate().map(|(at, (title, state))| Operation {
            timestamp: Timestamp::new(UnixMillis(1_000 + at as u64), 0),
            profile: ProfileId::DEFAULT,
            change: Change::Progress(
                ContentId::new(title).unwrap(),
                Some(Progress { position_s: 1, duration_s: 2, state: *state }),
            ),
        });
        operations.collect()
    }

    fn titles(played: BTreeSet<ContentId>) -> Vec<String> {
        played.iter().map(|content| content.as_str().to_owned()).collect()
    }

    #[test]
    fn a_title_is_told_once_a_day_and_only_when_it_plays() {
        let mut plays = FirstPlays::default();
        let noon = UnixMillis(100 * DAY_MS + 12);
        let both = operations(&[("a", PlayState::Playing), ("b", PlayState::Paused)]);
        assert_eq!(titles(plays.of(&both, noon)), ["a"]);
        assert_eq!(titles(plays.of(&both, noon)), [""; 0]);
        let resumed = operations(&[("b", PlayState::Playing), ("b", PlayState::Playing)]);
        assert_eq!(titles(plays.of(&resumed, noon)), ["b"]);
        assert_eq!(titles(plays.of(&both, UnixMillis(101 * DAY_MS))), ["a"], "another day");
    }

    #[test]
    fn ten_titles_a_day_are_told() {
        let mut plays = FirstPlays::default();
        let names: Vec<String> = (0..TITLES_OF_DAY_MAX + 3).map(|at| format!("t{at:02}")).collect();
        let many: Vec<(&str, PlayState)> =
            names.iter().map(|name| (name.as_str(), PlayState::Playing)).collect();
        assert_eq!(plays.of(&operations(&many), UnixMillis(DAY_MS)).len(), TITLES_OF_DAY_MAX);
    }
}
