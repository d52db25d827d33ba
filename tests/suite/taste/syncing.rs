//! What leaves a device, when, and what it does with the answers.

use super::server::{Server, tables_file};
use super::{Tv, abandoned, content, finished, genre, near};
use omega_sync_core::id::ProfileId;
use omega_sync_core::pattern::exchange::{Known, Trend, Trends};
use omega_sync_core::pattern::learner::Viewing;
use omega_sync_core::pattern::{Pattern, PatternId};
use omega_sync_core::session::taste::{
    Ending, GLOBALS_MAX, INTERVAL_MS, Input, Output, REQUEST_TIMEOUT_MS, RETRY_AFTER_MS_MAX,
    Settings,
};
use omega_sync_core::tag::TAG_ANSWER;

/// A TV with tables that has watched so many titles of a genre to the end.
fn tv_that_watched(seed: u8, name: &str, count: u64) -> Tv {
    let mut tv = Tv::new(seed);
    tv.handle(Input::Tables(tables_file()));
    (0..count).for_each(|number| tv.watch(finished(name, 1, number)));
    tv
}

pub fn sync(tv: &mut Tv, server: &mut Server) {
    tv.handle(Input::Connected);
    tv.handle(Input::SyncNow);
    server.serve(tv);
}

/// Server and device agree on what the server has.
fn assert_agreed(tv: &Tv, server: &Server) {
    let acked = tv.taste.contributions();
    assert!(acked.keys().eq(server.has.keys()), "the same names");
    for (id, acked) in acked.iter() {
        assert_eq!(acked.pattern, server.has[id], "the base is what the server decoded");
    }
}

#[test]
fn only_good_patterns_leave_and_only_when_they_changed() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 9);
    // 7 of 10 are enough, 6 of 10 are not.
    (0..7).for_each(|n| tv.watch(finished("crime", 1, n)));
    (7..10).for_each(|n| tv.watch(abandoned("crime", 1, n)));
    (0..6).for_each(|n| tv.watch(finished("horror", 1, n)));
    (6..10).for_each(|n| tv.watch(abandoned("horror", 1, n)));
    sync(&mut tv, &mut server);
    let genres: Vec<&str> = server.has.values().map(|p| p.genre.as_str()).collect();
    assert_eq!(genres, ["crime"], "nine dramas are too few, six of ten horrors too bad");
    assert_agreed(&tv, &server);

    let before = server.seen.len();
    sync(&mut tv, &mut server);
    assert_eq!(server.seen[before..].len(), 1);
    assert_eq!(server.seen[before].batch_bytes, None, "nothing changed");

    tv.watch(finished("drama", 1, 9));
    sync(&mut tv, &mut server);
    assert_eq!(server.has.len(), 2);
    tv.watch(finished("crime", 1, 77));
    sync(&mut tv, &mut server);
    let last = server.seen.last().expect("one");
    assert!(last.has_bases, "against the version that the server has");
    assert_agreed(&tv, &server);
}

#[test]
fn names_are_small_and_not_given_again_while_the_server_has_one() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    tv.watch(Viewing { profile: ProfileId(7), ..finished("crime", 2, 0) });
    (1..10).for_each(|n| tv.watch(Viewing { profile: ProfileId(7), ..finished("crime", 2, n) }));
    sync(&mut tv, &mut server);
    let names = |tv: &Tv| -> Vec<u128> {
        tv.taste.learner().learned().iter().map(|learned| learned.id.0).collect()
    };
    assert_eq!(names(&tv), [0, 1]);
    // Nobody has the second pattern any more but the server, which hears of it later.
    tv.handle(Input::Disconnected);
    tv.handle(Input::Profiles(&[ProfileId::DEFAULT]));
    tv.watch(finished("war", 3, 0));
    assert_eq!(names(&tv), [0, 2], "1 is what the server has under that name");
    sync(&mut tv, &mut server);
    assert_agreed(&tv, &server);
    tv.watch(finished("horror", 4, 0));
    assert_eq!(names(&tv), [0, 2, 1], "it is erased");
}

#[test]
fn what_is_not_good_any_more_is_taken_back() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    sync(&mut tv, &mut server);
    assert_eq!(server.has.len(), 1);
    (10..20).for_each(|n| tv.watch(abandoned("drama", 1, n)));
    sync(&mut tv, &mut server);
    assert!(server.has.is_empty());
    assert_agreed(&tv, &server);
}

#[test]
fn a_profile_takes_its_patterns_with_it() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    let of_profile = |n| Viewing { profile: ProfileId(7), ..finished("crime", 2, n) };
    (0..10).for_each(|n| tv.watch(of_profile(n)));
    sync(&mut tv, &mut server);
    assert_eq!(server.has.len(), 2);
    tv.handle(Input::Profiles(&[ProfileId::DEFAULT, ProfileId(7)]));
    assert!(tv.sent.is_empty(), "both are there");
    tv.handle(Input::Profiles(&[ProfileId::DEFAULT]));
    assert_eq!(tv.taste.learner().of(ProfileId(7)).count(), 0);
    assert_eq!(tv.sent.len(), 1, "the server hears of it at once");
    server.serve(&mut tv);
    assert_eq!(server.has.len(), 1);
    assert_agreed(&tv, &server);
    tv.restart();
    assert_eq!(tv.taste.learner().learned().len(), 1);
}

#[test]
fn a_profile_that_is_deleted_goes_alone() {
    let mut tv = tv_that_watched(1, "drama", 10);
    for profile in [7, 8] {
        tv.watch(Viewing { profile: ProfileId(profile), ..finished("crime", 2, 1) });
    }
    tv.handle(Input::ProfileDeleted(ProfileId(9)));
    assert_eq!(tv.taste.learner().learned().len(), 3, "nothing is known of it");
    tv.handle(Input::ProfileDeleted(ProfileId(7)));
    tv.restart();
    assert_eq!(tv.taste.learner().profiles(), [ProfileId::DEFAULT, ProfileId(8)]);
}

#[test]
fn near_duplicates_of_a_household_leave_as_one() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 100);
    // The same titles, watched in another profile.
    let other = |n| Viewing { profile: ProfileId(7), ..finished("drama", 1, n) };
    (0..100).for_each(|n| tv.watch(other(n)));
    (0..100).for_each(|n| tv.watch(Viewing { profile: ProfileId(8), ..finished("drama", 2, n) }));
    sync(&mut tv, &mut server);
    let mut samples: Vec<u32> = server.has.values().map(Pattern::sample_count).collect();
    samples.sort_unstable();
    assert_eq!(samples, [100, 200]);
    assert_agreed(&tv, &server);
}

#[test]
fn more_than_a_batch_leaves_in_several() {
    let mut server = Server::new();
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    for of in 0..30 {
        (0..10).for_each(|n| tv.watch(finished(&format!("genre {of}"), of, n)));
    }
    sync(&mut tv, &mut server);
    assert_eq!(server.has.len(), 30);
    let batches: Vec<usize> = server.seen.iter().filter_map(|seen| seen.batch_bytes).collect();
    let cap = tv.settings.batch_bytes as usize;
    assert!(batches.len() > 1 && batches.iter().all(|bytes| *bytes <= cap), "{batches:?}");
    assert_agreed(&tv, &server);
    assert_eq!(tv.other.last(), Some(&Output::Wake(tv.taste.time_until_sync(tv.now))));
    assert!(tv.other.contains(&Output::Synced(Ending::Done)));
}

#[test]
fn a_lost_receipt_never_lets_two_versions_be_mixed_up() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    sync(&mut tv, &mut server);
    // The second version arrives, but the device does not hear of it.
    tv.watch(finished("drama", 1, 10));
    server.lose = true;
    sync(&mut tv, &mut server);
    tv.handle(Input::Disconnected);
    tv.watch(finished("drama", 1, 11));
    let before = server.seen.len();
    sync(&mut tv, &mut server);
    let said: Vec<bool> = server.seen[before..].iter().map(|seen| seen.has_bases).collect();
    assert_eq!(said, [true, false], "against the first, which is not known any more; then whole");
    assert_agreed(&tv, &server);
    assert_eq!(server.has.values().next().map(Pattern::sample_count), Some(12));
}

#[test]
fn a_first_receipt_that_is_lost_does_not_stop_the_next() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    server.lose = true;
    sync(&mut tv, &mut server);
    tv.handle(Input::Disconnected);
    tv.watch(finished("drama", 1, 10));
    sync(&mut tv, &mut server);
    assert_agreed(&tv, &server);
}

#[test]
fn a_new_epoch_has_no_bases() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    sync(&mut tv, &mut server);
    server.epoch = 2;
    server.has.clear();
    tv.watch(finished("drama", 1, 10));
    sync(&mut tv, &mut server);
    assert_agreed(&tv, &server);
    // It heard of the next one before it has anything to say: then whole at once.
    server.epoch = 3;
    server.has.clear();
    sync(&mut tv, &mut server);
    tv.restart();
    tv.watch(finished("drama", 1, 11));
    let before = server.seen.len();
    sync(&mut tv, &mut server);
    assert_eq!(server.seen.len(), before + 1);
    assert!(!server.seen[before].has_bases);
    assert_agreed(&tv, &server);
}

#[test]
fn who_takes_no_part_sends_nothing_and_is_forgotten() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    sync(&mut tv, &mut server);
    tv.handle(Input::OptOut(true));
    server.serve(&mut tv);
    assert!(server.has.is_empty() && tv.taste.contributions().is_empty());
    tv.restart();
    assert!(tv.taste.opted_out());
    tv.watch(finished("drama", 1, 10));
    sync(&mut tv, &mut server);
    let last = server.seen.last().expect("one");
    assert!(last.opted_out && last.batch_bytes.is_none());
    assert!(server.has.is_empty());
    tv.handle(Input::OptOut(false));
    server.serve(&mut tv);
    assert_eq!(server.has.len(), 1, "and takes part again");
}

#[test]
fn a_household_that_takes_no_part_is_not_asked_again() {
    let mut server = Server::new();
    server.opted_out = true;
    let mut tv = tv_that_watched(1, "drama", 10);
    sync(&mut tv, &mut server);
    sync(&mut tv, &mut server);
    let batches = server.seen.iter().filter(|seen| seen.batch_bytes.is_some());
    assert_eq!(batches.count(), 1, "until the next start");
    assert!(tv.taste.contributions().is_empty());
}

pub fn global(id: u128, theme: u64, number: u64, samples: u32) -> Pattern {
    let embedding = near(theme, number, 0.3);
    Pattern::new(PatternId(id), genre("drama"), embedding, samples, samples / 2).expect("valid")
}

#[test]
fn global_patterns_arrive_in_parts_and_count_when_all_are_here() {
    let mut server = Server::new();
    server.releases.push((0..25).map(|id| global(id, 1, 1, 100)).collect());
    server.page = 10;
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    tv.handle(Input::Connected);
    // The connection breaks after the first part.
    let answer = server.answer(&tv.sent.remove(0));
    tv.handle(Input::Frame(&answer));
    assert_eq!((tv.taste.globals().len(), tv.taste.version()), (0, 0));
    tv.handle(Input::Disconnected);
    sync(&mut tv, &mut server);
    assert_alike(tv.taste.globals(), &server.releases[1]);
    let positions: Vec<u32> = server.seen.iter().map(|seen| seen.position).collect();
    assert_eq!(positions, [0, 0, 10, 20]);
    // The next one changes some and takes some away: only these travel, against what is here.
    let mut next = server.releases[1].clone();
    next.truncate(20);
    next[3] = global(3, 1, 2, 120);
    server.releases.push(next);
    tv.restart();
    sync(&mut tv, &mut server);
    assert_alike(tv.taste.globals(), &server.releases[2]);
    assert_eq!(server.seen.len(), 5, "in one part");
    assert_eq!(tv.taste.version(), 2);
}

#[test]
fn a_device_that_is_ahead_gets_everything_again() {
    let mut server = Server::new();
    for samples in [100, 200, 300] {
        server.releases.push((0..25).map(|id| global(id, 1, 1, samples)).collect());
    }
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    sync(&mut tv, &mut server);
    // A backup was put back: an earlier life, with other patterns.
    server.releases.truncate(1);
    server.releases.push((20..30).map(|id| global(id, 2, 5, 10)).collect());
    server.page = 4;
    tv.handle(Input::SyncNow);
    let first = server.answer(&tv.sent.remove(0));
    tv.handle(Input::Frame(&first));
    assert_eq!(tv.taste.version(), 0, "nothing of before counts as known");
    tv.restart();
    sync(&mut tv, &mut server);
    assert_alike(tv.taste.globals(), &server.releases[1]);
    assert_eq!(tv.taste.version(), 1);
}

#[test]
fn bases_that_are_not_the_servers_lead_to_a_full_resend() {
    let mut server = Server::new();
    server.releases.push(vec![global(1, 1, 1, 100)]);
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    sync(&mut tv, &mut server);
    // The same version means something else there.
    server.releases[1] = vec![global(1, 2, 9, 100)];
    server.releases.push(vec![global(1, 2, 10, 130)]);
    sync(&mut tv, &mut server);
    assert_eq!(tv.taste.version(), 0);
    assert!(tv.other.contains(&Output::Synced(Ending::Failed)));
    sync(&mut tv, &mut server);
    assert_alike(tv.taste.globals(), &server.releases[2]);
}

#[test]
fn a_device_keeps_so_many_global_patterns() {
    let mut server = Server::new();
    server.releases.push((0..GLOBALS_MAX as u128 + 5).map(|id| global(id, 1, 1, 100)).collect());
    server.page = 60;
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    sync(&mut tv, &mut server);
    assert_alike(tv.taste.globals(), &server.releases[1][..GLOBALS_MAX]);
    tv.restart();
    assert_eq!(tv.taste.globals().len(), GLOBALS_MAX);
}

#[test]
fn titles_of_the_feed_are_kept_at_once_and_not_fetched_twice() {
    let mut server = Server::new();
    server.feed = (0..5).map(|n| global(0, 1, n, 1)).collect();
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    tv.handle(Input::Connected);
    for _ in 0..2 {
        let answer = server.answer(&tv.sent.remove(0));
        tv.handle(Input::Frame(&answer));
    }
    assert_eq!(tv.taste.catalog().len(), 2);
    // What is on its way is lost.
    tv.restart();
    assert_eq!(tv.taste.catalog().len(), 2);
    sync(&mut tv, &mut server);
    assert_eq!(tv.taste.catalog().len(), 5);
    let marks: Vec<u64> = server.seen.iter().map(|seen| seen.known.titles).collect();
    assert_eq!(marks[..4], [0, 1, 2, 3]);
    assert!(tv.taste.catalog().slot(&content("feed:4")).is_some());

    let mut own = Tv::with(2, Settings { wants_titles: false, ..Settings::default() });
    own.handle(Input::Tables(tables_file()));
    sync(&mut own, &mut server);
    assert!(own.taste.catalog().is_empty(), "an app with a catalogue of its own");
}

#[test]
fn trends_count_until_their_time() {
    let mut server = Server::new();
    let list = vec![Trend { content: content("tmdb:1"), genre: genre("drama"), score: 5 }];
    let mut tv = Tv::new(1);
    let until_ms = tv.now.unix.0 + 86_400_000;
    server.trends = Some(Trends { region: "DE".into(), until_ms, list });
    sync(&mut tv, &mut server);
    assert_eq!(tv.taste.trends(tv.now), server.trends.as_ref(), "without tables too");
    tv.restart();
    tv.later(86_400_000 - 1);
    assert!(tv.taste.trends(tv.now).is_some());
    tv.later(1);
    assert!(tv.taste.trends(tv.now).is_none());
}

#[test]
fn tables_that_are_missing_are_fetched_once() {
    let mut server = Server::new();
    let mut tv = Tv::new(1);
    (0..10).for_each(|n| tv.watch(finished("drama", 1, n)));
    sync(&mut tv, &mut server);
    let wanted = Output::FetchTables(server.tables.id());
    assert!(tv.other.contains(&wanted));
    assert!(server.has.is_empty());
    tv.handle(Input::Tables(b"nonsense".to_vec()));
    assert_eq!(tv.taste.tables_id(), 0);
    tv.handle(Input::Tables(tables_file()));
    server.serve(&mut tv);
    assert_eq!(server.has.len(), 1, "at once");
    tv.restart();
    tv.other.clear();
    sync(&mut tv, &mut server);
    assert!(!tv.other.contains(&wanted), "they are on the device now");
}

#[test]
fn syncs_come_in_their_interval_and_on_demand() {
    let mut server = Server::new();
    let mut waits = Vec::new();
    let mut tv = Tv::new(1);
    tv.handle(Input::Tables(tables_file()));
    tv.handle(Input::Connected);
    assert_eq!(tv.sent.len(), 1, "the first one at once");
    server.serve(&mut tv);
    for _ in 0..50 {
        let wait = tv.taste.time_until_sync(tv.now);
        assert!((INTERVAL_MS.0..=INTERVAL_MS.1).contains(&wait), "{wait}");
        waits.push(wait);
        tv.later(wait - 1);
        tv.handle(Input::Woke);
        assert!(tv.sent.is_empty());
        tv.later(1);
        tv.handle(Input::Woke);
        assert_eq!(tv.sent.len(), 1);
        server.serve(&mut tv);
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 40, "they are drawn");
    tv.handle(Input::SyncNow);
    assert_eq!(tv.sent.len(), 1);
    tv.handle(Input::SyncNow);
    assert_eq!(tv.sent.len(), 1, "one is on its way");
    server.serve(&mut tv);

    tv.handle(Input::Disconnected);
    tv.handle(Input::SyncNow);
    assert!(tv.sent.is_empty());
    tv.handle(Input::Connected);
    assert_eq!(tv.sent.len(), 1, "what was asked for offline is done when it can be");
}

#[test]
fn a_start_soon_after_a_sync_waits_for_the_rest_of_the_interval() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    sync(&mut tv, &mut server);
    tv.later(60_000);
    tv.restart();
    assert_eq!(tv.taste.time_until_sync(tv.now), INTERVAL_MS.0 - 60_000);
    tv.now.unix.0 -= 10_000_000;
    assert_eq!(tv.taste.time_until_sync(tv.now), 0, "a clock that went back says nothing");
    tv.now.unix.0 += 100_000_000;
    tv.handle(Input::Connected);
    assert_eq!(tv.sent.len(), 1);
}

#[test]
fn a_server_that_wants_to_be_left_alone_is() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    for (seconds, ms) in [(60, 60_000), (u32::MAX, RETRY_AFTER_MS_MAX)] {
        server.limited_s = Some(seconds);
        sync(&mut tv, &mut server);
        assert_eq!(tv.taste.time_until_sync(tv.now), ms);
        assert!(tv.other.contains(&Output::Synced(Ending::RateLimited)));
        tv.handle(Input::SyncNow);
        assert!(tv.sent.is_empty(), "not on demand either");
        tv.later(ms);
        server.limited_s = None;
        tv.handle(Input::Woke);
        assert_eq!(tv.sent.len(), 1);
        server.serve(&mut tv);
    }
    assert_eq!(server.has.len(), 1);
}

#[test]
fn an_answer_that_does_not_come_or_makes_no_sense_costs_a_wait() {
    let mut server = Server::new();
    let mut tv = tv_that_watched(1, "drama", 10);
    tv.handle(Input::Connected);
    tv.sent.clear();
    tv.later(REQUEST_TIMEOUT_MS - 1);
    tv.handle(Input::Woke);
    assert!(!tv.other.contains(&Output::Synced(Ending::Failed)));
    tv.later(1);
    tv.handle(Input::Woke);
    assert!(tv.other.contains(&Output::Synced(Ending::Failed)));
    assert!(tv.taste.time_until_sync(tv.now) >= INTERVAL_MS.0);
    for nonsense in [&[TAG_ANSWER][..], &[], &[TAG_ANSWER, 9], &[TAG_ANSWER, 0, 255]] {
        tv.handle(Input::SyncNow);
        assert_eq!(tv.sent.len(), 1);
        tv.sent.clear();
        tv.handle(Input::Frame(nonsense));
        assert!(tv.taste.time_until_sync(tv.now) >= INTERVAL_MS.0);
        tv.handle(Input::Frame(nonsense));
    }
    sync(&mut tv, &mut server);
    assert_eq!(server.has.len(), 1);
    assert_eq!(server.seen[0].known, Known::default());
}

/// The same patterns, as near as the codec's floor asks.
fn assert_alike(decoded: &[Pattern], sent: &[Pattern]) {
    assert_eq!(decoded.len(), sent.len());
    for (decoded, sent) in decoded.iter().zip(sent) {
        let said = |p: &Pattern| (p.id, p.genre.clone(), p.sample_count(), p.success_count());
        assert_eq!(said(decoded), said(sent));
        assert!(decoded.embedding.cosine(&sent.embedding) >= 0.98);
    }
}
