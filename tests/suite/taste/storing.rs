//! What is stored is what is known.

use super::server::{Server, tables_file};
use super::syncing::{global, sync};
use super::{Tv, abandoned, finished, title};
use omega_sync_core::codec::{DecodeError, Writer, checksum};
use omega_sync_core::id::ProfileId;
use omega_sync_core::pattern::PatternId;
use omega_sync_core::pattern::catalog::{Catalog, TITLES_MAX};
use omega_sync_core::pattern::exchange::{ANSWER_LISTED_MAX, Answer, Known};
use omega_sync_core::pattern::learner::{LEARNED_MAX, PROFILES_KNOWN_MAX, VIEWED_MAX, Viewing};
use omega_sync_core::session::taste::{Input, Log, Settings, Taste};
use proptest::prelude::*;

/// Both have the same in them: what they would store.
fn assert_same(tv: &Tv) {
    let [taste, catalog] = &tv.stored;
    let opened = Taste::load(taste, catalog, tv.settings, [9; 16]).expect("of this version");
    assert_eq!(opened.damage, [None, None]);
    let loaded = opened.taste;
    assert_eq!(loaded.learner(), tv.taste.learner());
    assert_eq!(loaded.contributions(), tv.taste.contributions());
    assert_eq!(loaded.globals(), tv.taste.globals());
    assert_eq!(loaded.catalog(), tv.taste.catalog());
    assert_eq!(loaded.trends(tv.now), tv.taste.trends(tv.now));
    assert_eq!(loaded.opted_out(), tv.taste.opted_out());
    assert_eq!(loaded.version(), tv.taste.version());
    assert_eq!(loaded.tables_id(), tv.taste.tables_id());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_storage_agree_after_every_input(
        steps in prop::collection::vec((0u8..13, 0u64..4, 0u64..40), 1..60)
    ) {
        let mut tv = Tv::new(3);
        let mut server = Server::new();
        for (kind, theme, number) in steps {
            match kind {
                0..=3 => tv.watch(finished("drama", theme, number)),
                4 => tv.watch(abandoned("crime", theme, number)),
                5 => {
                    let titles = (0..number).map(|n| title("drama", theme, n)).collect();
                    tv.handle(Input::Titles(titles));
                }
                6 => tv.handle(Input::OptOut(number % 2 == 0)),
                7 => tv.handle(Input::Tables(tables_file())),
                8 => tv.handle(Input::Profiles(&[ProfileId(theme / 2)])),
                9 => {
                    // As many as a device makes that is offline: the server's limit is not its own.
                    let listed: Vec<ProfileId> = (0..10 * number).map(ProfileId).collect();
                    tv.handle(Input::Profiles(&listed));
                }
                10 => tv.handle(Input::ProfileDeleted(ProfileId(20 * number))),
                11 => tv.watch(Viewing {
                    profile: ProfileId(20 * number),
                    watched_permille: 500 * theme as u16,
                    finished: false,
                    ..finished("drama", theme, number)
                }),
                _ => {
                    server.epoch += theme / 3;
                    tv.handle(Input::Connected);
                    tv.handle(Input::SyncNow);
                    server.serve(&mut tv);
                }
            }
            assert_same(&tv);
            if number % 7 == 0 {
                tv.restart();
            }
        }
    }

    #[test]
    fn bytes_from_outside_break_nothing(bytes: Vec<u8>, tag in 30u8..52, cut in 0usize..2000) {
        let mut writer = Writer::new();
        writer.u8(1);
        writer.u8(tag);
        writer.raw(&bytes);
        writer.fixed32(checksum(writer.as_slice()));
        let record = vec![writer.finish()];
        let _ = Taste::load(&record, &record, Settings::default(), [1; 16]);
        let mut tv = Tv::new(1);
        tv.handle(Input::Tables(tables_file()));
        tv.watch(finished("drama", 1, 1));
        tv.handle(Input::Connected);
        let mut frame = vec![8, 0];
        frame.extend(&bytes);
        tv.handle(Input::Frame(&frame));
        let record = &tv.stored[0][0];
        let cut = vec![record[..cut.min(record.len())].to_vec()];
        let _ = Taste::load(&cut, &[], Settings::default(), [1; 16]);
        assert_same(&tv);
    }
}

#[test]
fn every_profile_that_is_known_can_be_stored() {
    let mut tv = Tv::new(1);
    let profiles: Vec<ProfileId> = (0..PROFILES_KNOWN_MAX as u64).map(ProfileId).collect();
    // Each title in a profile of its own, and each pattern in one whose titles are forgotten.
    let (patterns, titles) = profiles.split_at(LEARNED_MAX);
    let watch = |tv: &mut Tv, profile: ProfileId, viewing: Viewing| {
        tv.watch(Viewing { profile, ..viewing });
    };
    for &profile in patterns {
        (0..2).for_each(|n| watch(&mut tv, profile, finished("drama", 1, n)));
    }
    for &profile in titles {
        watch(&mut tv, profile, finished("crime", 2, 1));
    }
    let known = tv.taste.learner().profiles();
    assert!(known.len() > VIEWED_MAX, "{}", known.len());
    tv.handle(Input::ProfileDeleted(known[0]));
    assert_eq!(tv.taste.learner().profiles(), known[1..]);
    assert_same(&tv);
}

#[test]
fn a_server_that_removes_without_end_is_stored_as_far_as_it_means_anything() {
    let mut server = Server::new();
    server.releases.push((0..3).map(|id| global(id, 1, 1, 100)).collect());
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    sync(&mut tv, &mut server);
    assert_eq!(tv.taste.globals().len(), 3);
    tv.handle(Input::SyncNow);
    let tables = tv.taste.tables_id();
    for (part, next) in [(0, 1), (1, 2), (2, 0)] {
        // One that is known, twice, among others that are not.
        let mut removed = vec![PatternId(1); ANSWER_LISTED_MAX];
        for (at, id) in removed.iter_mut().enumerate().skip(2) {
            *id = PatternId((1_000 * (part + 1) + at) as u128);
        }
        let known = Known { version: 2, ..Known::default() };
        let (epoch, more) = (server.epoch, next > 0);
        let answer = Answer { epoch, tables, known, next, more, removed, ..Answer::default() };
        assert!(!tv.sent.is_empty(), "part {part} is asked for");
        tv.sent.clear();
        tv.handle(Input::Frame(&answer.encode()));
    }
    let left: Vec<PatternId> = tv.taste.globals().iter().map(|pattern| pattern.id).collect();
    assert_eq!(left, [PatternId(0), PatternId(2)]);
    assert_eq!(tv.taste.version(), 2);
    assert_same(&tv);
}

#[test]
fn damage_in_one_log_leaves_the_other_and_what_was_before() {
    let mut tv = Tv::new(1);
    tv.handle(Input::Titles((0..3).map(|n| title("drama", 1, n)).collect()));
    tv.watch(finished("drama", 1, 1));
    tv.watch(finished("drama", 1, 2));
    let [mut taste, catalog] = tv.stored.clone();
    *taste.last_mut().expect("some").last_mut().expect("not empty") ^= 1;
    let opened = Taste::load(&taste, &catalog, tv.settings, [1; 16]).expect("of this version");
    assert_eq!(opened.damage, [Some(DecodeError::Checksum), None]);
    assert_eq!(opened.outputs.len(), 1, "an image of what could be read");
    assert_eq!(opened.taste.learner().learned()[0].sample_count, 1);
    assert_eq!(opened.taste.catalog().len(), 3);
    let newer = [vec![2, 33, 0, 0, 0, 0]];
    let sum = checksum(&newer[0][..2]).to_le_bytes();
    let newer = [[&newer[0][..2], &sum].concat()];
    let refused = Taste::load(&newer, &[], tv.settings, [1; 16]);
    assert_eq!(refused.map(drop).unwrap_err(), DecodeError::version(2));
}

#[test]
fn logs_stay_bounded_and_what_is_known_is_not_stored_again() {
    let mut tv = Tv::new(1);
    for number in 0..2_000 {
        tv.watch(finished("drama", number % 3, number));
    }
    let bytes = tv.log_bytes(Log::Taste);
    assert!(bytes < 400_000, "{bytes}");
    let titles = || (0..100).map(|n| title("drama", 1, n)).collect();
    tv.handle(Input::Titles(titles()));
    let bytes = tv.log_bytes(Log::Catalog);
    tv.handle(Input::Titles(titles()));
    assert_eq!(tv.log_bytes(Log::Catalog), bytes, "an app tells its catalogue at every start");
}

#[test]
fn a_catalogue_has_so_many_titles_and_the_oldest_goes() {
    let mut catalog = Catalog::default();
    for number in 0..TITLES_MAX as u64 + 1 {
        catalog.learn(&title("drama", 1, number));
    }
    assert_eq!(catalog.len(), TITLES_MAX);
    let has = |number: u64| catalog.slot(&title("drama", 1, number).content).is_some();
    assert!(!has(0) && has(1) && has(TITLES_MAX as u64));
    let last = title("drama", 1, TITLES_MAX as u64);
    assert_eq!(catalog.title(&last.content), Some(last));
}
