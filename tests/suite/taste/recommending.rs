//! Which titles are recommended, and why.

use super::{Tv, abandoned, content, finished, genre, near, title};
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::pattern::catalog::{Title, Vector};
use omega_sync_core::pattern::exchange::{Trend, Trends};
use omega_sync_core::pattern::learner::Learner;
use omega_sync_core::pattern::recommend::{
    Pick, RECOMMENDED_MAX, Reason, Sources, Wish, recommend,
};
use omega_sync_core::pattern::{Embedding, Pattern, PatternId};
use omega_sync_core::session::taste::Input;

fn wish(count: usize) -> Wish<'static> {
    Wish { profile: ProfileId::DEFAULT, count, genre: None, excluded: &[] }
}

fn names(picks: &[Pick]) -> Vec<&str> {
    picks.iter().map(|pick| pick.content.as_str()).collect()
}

/// A TV that knows 200 dramas of each of four themes, and 50 crimes of the first.
fn tv() -> Tv {
    let mut tv = Tv::new(1);
    let dramas = (0..800).map(|n| title("drama", n % 4, n));
    tv.handle(Input::Titles(dramas.chain((0..50).map(|n| title("crime", 0, n))).collect()));
    tv
}

fn theme(pick: &Pick) -> u64 {
    let number = pick.content.as_str().rsplit(':').next().expect("a number");
    number.parse::<u64>().expect("a number") % 4
}

#[test]
fn what_resembles_what_was_watched_comes_first_with_the_reason() {
    let mut tv = tv();
    assert_eq!(tv.taste.recommend(tv.now, &wish(10)), [], "nothing is known of anybody");
    (0..10).for_each(|n| tv.watch(finished("drama", 2, 2 + 4 * n)));
    let picks = tv.taste.recommend(tv.now, &wish(10));
    assert_eq!(picks.len(), 10);
    assert!(picks.iter().all(|pick| pick.genre == genre("drama") && theme(pick) == 2), "{picks:?}");
    let because = Reason::Own(Some(content("drama:38")));
    assert!(picks.iter().all(|pick| pick.reason == because), "the last one that was finished");
    let watched: Vec<String> = (0..10).map(|n| format!("drama:{}", 2 + 4 * n)).collect();
    assert!(names(&picks).iter().all(|name| !watched.contains(&(*name).to_owned())));
    assert_eq!(tv.taste.recommend(tv.now, &wish(10)), picks, "the same each time");
    let watched = tv.taste.recommend(tv.now, &Wish { profile: ProfileId(7), ..wish(10) });
    assert_eq!(watched, [], "nothing is known of another profile");
    tv.restart();
    assert_eq!(tv.taste.recommend(tv.now, &wish(10)), picks, "after a restart too");
}

#[test]
fn one_viewing_is_enough_to_begin_with() {
    let mut tv = Tv::new(1);
    let others = (100..140).map(|n| title("drama", 1 + n % 2 * 2, n));
    tv.handle(Input::Titles((0..8).map(|n| title("drama", 2, n)).chain(others).collect()));
    tv.watch(finished("drama", 2, 0));
    let picks = tv.taste.recommend(tv.now, &wish(7));
    let expected = |name: &&str| name.len() == "drama:1".len();
    assert_eq!(names(&picks).iter().filter(|name| expected(name)).count(), 7, "{picks:?}");
}

#[test]
fn what_was_left_early_counts_against_its_like() {
    let mut tv = tv();
    (0..10).for_each(|n| tv.watch(finished("drama", 1, 1 + 4 * n)));
    (0..10).for_each(|n| tv.watch(abandoned("drama", 3, 3 + 4 * n)));
    let picks = tv.taste.recommend(tv.now, &wish(RECOMMENDED_MAX));
    assert!(picks.iter().all(|pick| theme(pick) != 3));
    assert!(picks.iter().filter(|pick| theme(pick) == 1).count() > 20);
}

#[test]
fn what_the_app_excludes_and_other_genres_are_left_out() {
    let mut tv = tv();
    (0..10).for_each(|n| tv.watch(finished("drama", 0, 4 * n)));
    let first = tv.taste.recommend(tv.now, &wish(5));
    let excluded: Vec<ContentId> = first.iter().map(|pick| pick.content.clone()).collect();
    let picks = tv.taste.recommend(tv.now, &Wish { excluded: &excluded, ..wish(5) });
    assert!(picks.iter().all(|pick| !excluded.contains(&pick.content)));
    let crime = genre("crime");
    let picks = tv.taste.recommend(tv.now, &Wish { genre: Some(&crime), ..wish(5) });
    assert_eq!(picks.len(), 5, "the taste in dramas says something of crimes");
    assert!(picks.iter().all(|pick| pick.genre == crime));
    assert_eq!(tv.taste.recommend(tv.now, &wish(0)), []);
    let most = tv.taste.recommend(tv.now, &wish(RECOMMENDED_MAX + 1));
    assert_eq!(most.len(), RECOMMENDED_MAX);
}

#[test]
fn a_list_has_no_title_twice_under_other_names() {
    let mut tv = Tv::new(1);
    // Ten editions of one film, nearer to the taste than anything else, and thirty other films.
    let edition =
        |n: u64| Title { vector: Vector::of(&near(1, 5, 0.5)), ..title("drama", 1, 1_000 + n) };
    tv.handle(Input::Titles(
        (0..10).map(edition).chain((0..30).map(|n| title("drama", 1, n))).collect(),
    ));
    (100..110).for_each(|n| tv.watch(finished("drama", 1, n)));
    let picks = tv.taste.recommend(tv.now, &wish(10));
    let editions = picks.iter().filter(|pick| pick.content.as_str().starts_with("drama:10"));
    assert_eq!((picks.len(), editions.count()), (10, 1));
    assert!(picks[0].content.as_str().starts_with("drama:10"), "it is the best");
}

#[test]
fn other_households_and_the_region_speak_too() {
    let tv = tv();
    let global = |id: u128, theme: u64, successes: u32| {
        let embedding = near(theme, 0, 0.1);
        Pattern::new(PatternId(id), genre("drama"), embedding, 1_000, successes).expect("valid")
    };
    let globals = [global(1, 3, 900)];
    let learner = Learner::default();
    let catalog = tv.taste.catalog();
    let sources = Sources { catalog, learner: &learner, globals: &globals, trends: None };
    let picks = recommend(&sources, &wish(10));
    assert!(picks.iter().all(|pick| theme(pick) == 3 && pick.reason == Reason::Global));
    assert_eq!(picks.len(), 10);

    let list = vec![
        Trend { content: content("crime:7"), genre: genre("crime"), score: 900 },
        Trend { content: content("drama:2"), genre: genre("drama"), score: 300 },
        Trend { content: content("unknown:1"), genre: genre("drama"), score: 800 },
    ];
    let trends = Trends { region: "DE".into(), until_ms: 0, list };
    let sources = Sources { trends: Some(&trends), globals: &[], ..sources };
    let picks = recommend(&sources, &wish(10));
    assert_eq!(names(&picks), ["crime:7", "drama:2"]);
    assert!(picks.iter().all(|pick| pick.reason == Reason::Trend));
}

#[test]
fn households_with_a_similar_taste_count_more_than_large_ones() {
    let mut tv = Tv::new(1);
    // Nothing of what the viewer knows: themes 2 and 3.
    tv.handle(Input::Titles((0..40).map(|n| title("drama", 2 + n % 2, n)).collect()));
    // Few viewings: what others like counts the less, the more is known of the viewer.
    (100..104).for_each(|n| tv.watch(finished("drama", 1, n)));
    let global = |id: u128, themes: [u64; 2], samples: u32| {
        let [one, other] = themes.map(|theme| near(theme, 0, 0.0).to_f32());
        let both: Vec<f32> = one.iter().zip(&other).map(|(a, b)| a + b).collect();
        let embedding = Embedding::from_f32(&both).expect("not zero");
        Pattern::new(PatternId(id), genre("drama"), embedding, samples, samples).expect("valid")
    };
    // Few households like the viewer's own theme and the second, many the third.
    let globals = [global(1, [1, 2], 100), global(2, [3, 3], 1_000_000)];
    let sources = Sources {
        catalog: tv.taste.catalog(),
        learner: tv.taste.learner(),
        globals: &globals,
        trends: None,
    };
    let picks = recommend(&sources, &wish(10));
    let even = |pick: &Pick| theme(pick).is_multiple_of(2);
    assert!(picks.len() == 10 && picks.iter().all(even), "{picks:?}");
}

/// A TV that knows 400 dramas, 400 crimes and 20 westerns, all of one theme: likeness tells little.
fn three_genres() -> Tv {
    let mut tv = Tv::new(1);
    let titles = [("drama", 400), ("crime", 400), ("western", 20)];
    let titles = titles.into_iter().flat_map(|(of, count)| (0..count).map(move |n| (of, n)));
    tv.handle(Input::Titles(titles.map(|(of, n)| title(of, 1, n)).collect()));
    tv
}

fn listed(picks: &[Pick], of: &str) -> usize {
    picks.iter().filter(|pick| pick.genre == genre(of)).count()
}

fn liked_by(households: u32, of: &str) -> Pattern {
    let id = PatternId(u128::from(households));
    Pattern::new(id, genre(of), near(1, 0, 0.1), households, households).expect("valid")
}

#[test]
fn a_genre_is_listed_as_much_as_the_viewer_watches_it() {
    let mut tv = three_genres();
    // Dramas are left now and then, so one of them is liked less; but there are many.
    (0..50).for_each(|n| tv.watch(finished("drama", 1, 500 + n)));
    (0..5).for_each(|n| tv.watch(abandoned("drama", 1, 550 + n)));
    (0..25).for_each(|n| tv.watch(finished("crime", 1, 500 + n)));
    let picks = tv.taste.recommend(tv.now, &wish(20));
    assert!(listed(&picks, "drama") == 20, "{picks:?}");
    // Fewer viewings, of a genre that has few titles: each of them is more likely the next.
    (0..40).for_each(|n| tv.watch(finished("western", 1, 500 + n)));
    let picks = tv.taste.recommend(tv.now, &wish(20));
    assert!(listed(&picks, "western") > 10, "{picks:?}");
}

#[test]
fn who_is_new_hears_what_others_watch_and_who_is_known_does_not() {
    let mut tv = three_genres();
    let globals = [liked_by(3_000, "crime"), liked_by(60, "drama")];
    let picks = |tv: &Tv, globals: &[Pattern]| {
        let (catalog, learner) = (tv.taste.catalog(), tv.taste.learner());
        let sources = Sources { catalog, learner, globals, trends: None };
        recommend(&sources, &wish(20))
    };
    let count = |picks: &[Pick]| picks.iter().filter(|p| p.reason == Reason::Global).count();
    let new = picks(&tv, &globals);
    assert_eq!((listed(&new, "crime"), count(&new)), (20, 20), "nothing else is known: {new:?}");
    // Two viewings are less than what many households are worth, twenty are more.
    (0..2).for_each(|n| tv.watch(finished("drama", 1, 500 + n)));
    let few = picks(&tv, &globals);
    assert!(count(&few) > 10, "{few:?}");
    (2..20).for_each(|n| tv.watch(finished("drama", 1, 500 + n)));
    let settled = picks(&tv, &globals);
    assert_eq!((listed(&settled, "drama"), count(&settled)), (20, 0), "{settled:?}");
    // A hundred viewings: what others watch changes nothing that counts.
    (20..100).for_each(|n| tv.watch(finished("drama", 1, 500 + n)));
    let (with, without) = (picks(&tv, &globals), picks(&tv, &[]));
    let names = names(&without);
    let same = with.iter().filter(|pick| names.contains(&pick.content.as_str())).count();
    assert!(same >= 18, "{same}: {with:?} {without:?}");
}
