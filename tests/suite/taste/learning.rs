//! Viewings become patterns.

use super::{abandoned, content, finished, genre, near};
use omega_sync_core::id::ProfileId;
use omega_sync_core::pattern::learner::{
    LEARNED_MAX, LEARNED_WEIGHT_MAX, Learner, SUB_TASTES_MAX, VIEWED_MAX, Viewing,
    WATCHED_PERMILLE_MIN,
};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, PatternId};
use proptest::prelude::*;

/// Learns, and names what opens by the viewing's place.
fn learn(viewings: &[Viewing]) -> Learner {
    let mut learner = Learner::default();
    for (at, viewing) in viewings.iter().enumerate() {
        learner.record(viewing, PatternId(at as u128));
    }
    learner
}

fn counts(learner: &Learner) -> Vec<(u32, u32)> {
    learner.learned().iter().map(|l| (l.sample_count, l.success_count)).collect()
}

#[test]
fn a_pattern_is_the_mean_of_its_titles_in_any_order() {
    let mut viewings: Vec<Viewing> = (0..20).map(|n| finished("drama", 1, n)).collect();
    let learner = learn(&viewings);
    assert_eq!(counts(&learner), [(20, 20)]);
    let mut mean = vec![0.0; DIMENSIONS];
    for viewing in &viewings {
        for (sum, component) in mean.iter_mut().zip(viewing.embedding.to_f32()) {
            *sum += component;
        }
    }
    let mean = Embedding::from_f32(&mean).expect("not zero");
    let pattern = learner.learned()[0].pattern().expect("it points somewhere");
    assert!(pattern.embedding.cosine(&mean) > 0.999_99);
    viewings.reverse();
    let other = learn(&viewings).learned()[0].pattern().expect("the same");
    assert_eq!(other.embedding, pattern.embedding);
}

#[test]
fn one_title_is_one_sample_and_a_success_once_it_was_one() {
    let (left, seen) = (abandoned("drama", 1, 7), finished("drama", 1, 7));
    assert_eq!(counts(&learn(&[left.clone(), left.clone(), left.clone()])), [(1, 0)]);
    let learner = learn(&[left.clone(), seen.clone()]);
    assert_eq!(counts(&learner), [(1, 1)], "resumed and brought to an end");
    assert_eq!(learner.learned()[0].example, Some(content("drama:7")));
    let often = vec![seen.clone(); 10];
    assert_eq!(counts(&learn(&often)), [(1, 1)], "ten times one film are no taste of ten titles");
    assert_eq!(counts(&learn(&[seen, left])), [(1, 1)], "the second time it was left");
}

#[test]
fn what_was_hardly_watched_does_not_count_and_most_of_it_is_a_success() {
    let part = |watched_permille| Viewing { watched_permille, ..abandoned("drama", 1, 7) };
    for (permille, expected) in [
        (0, vec![]),
        (WATCHED_PERMILLE_MIN - 1, vec![]),
        (WATCHED_PERMILLE_MIN, vec![(1, 0)]),
        (699, vec![(1, 0)]),
        (700, vec![(1, 1)]),
    ] {
        assert_eq!(counts(&learn(&[part(permille)])), expected, "{permille}");
    }
    let zapped = Viewing { finished: true, ..part(0) };
    assert_eq!(counts(&learn(&[zapped])), [(1, 1)], "who says finished means it");
}

#[test]
fn two_tastes_of_one_genre_are_two_patterns() {
    let viewings: Vec<Viewing> = (0..40).map(|n| finished("drama", n % 2, n)).collect();
    let learner = learn(&viewings);
    assert_eq!(counts(&learner), [(20, 20), (20, 20)]);
    for (theme, learned) in learner.learned().iter().enumerate() {
        let pattern = learned.pattern().expect("it points somewhere");
        let own = near(theme as u64, 999, 1.5).cosine(&pattern.embedding);
        let other = near(1 - theme as u64, 999, 1.5).cosine(&pattern.embedding);
        assert!(own > 0.4 && other < 0.2, "{own} {other}");
    }
}

#[test]
fn sub_tastes_that_come_to_resemble_each_other_become_one() {
    let both = |number| {
        let components = near(1, number, 0.0).to_f32().into_iter();
        let both: Vec<f32> =
            components.zip(near(2, number, 0.0).to_f32()).map(|(a, b)| a + b).collect();
        let embedding = Embedding::from_f32(&both).expect("not zero");
        Viewing { embedding, ..finished("drama", 1, number) }
    };
    let mut viewings: Vec<Viewing> = (0..10).map(|n| finished("drama", 1 + n % 2, n)).collect();
    assert_eq!(counts(&learn(&viewings)).len(), 2);
    viewings.extend((100..160).map(both));
    let learner = learn(&viewings);
    assert_eq!(counts(&learner), [(70, 70)]);
    assert_eq!(learner.learned()[0].id, PatternId(0), "the larger one's name stays");
}

#[test]
fn genres_and_profiles_are_kept_apart() {
    let other = Viewing { profile: ProfileId(7), ..finished("drama", 1, 2) };
    let mut learner = learn(&[finished("drama", 1, 1), finished("crime", 1, 1), other]);
    assert_eq!(counts(&learner), [(1, 1); 3]);
    assert_eq!(learner.viewed(ProfileId(7)).count(), 1);
    assert_eq!(learner.profiles(), [ProfileId::DEFAULT, ProfileId(7)]);
    assert!(learner.keep_profiles(&[ProfileId::DEFAULT]));
    assert_eq!((learner.of(ProfileId(7)).count(), learner.viewed(ProfileId(7)).count()), (0, 0));
    assert_eq!(learner.of(ProfileId::DEFAULT).count(), 2);
    assert!(!learner.keep_profiles(&[ProfileId::DEFAULT]), "nothing more to forget");
}

#[test]
fn a_genre_has_so_many_sub_tastes_and_a_device_so_many_patterns() {
    let themes = SUB_TASTES_MAX as u64 + 3;
    let viewings: Vec<Viewing> = (0..themes).map(|theme| finished("drama", theme, theme)).collect();
    assert_eq!(learn(&viewings[..SUB_TASTES_MAX]).learned().len(), SUB_TASTES_MAX);
    let learner = learn(&viewings);
    assert_eq!(learner.learned().len(), SUB_TASTES_MAX);
    assert_eq!(learner.learned().iter().map(|l| l.sample_count).sum::<u32>(), themes as u32);

    let mut viewings = vec![finished("genre 0", 0, 1)];
    viewings.extend((0..LEARNED_MAX).map(|n| finished(&format!("genre {n}"), 0, 0)));
    assert_eq!(learn(&viewings).learned().len(), LEARNED_MAX);
    viewings.push(finished("one more", 0, 0));
    let learner = learn(&viewings);
    assert_eq!(learner.learned().len(), LEARNED_MAX);
    assert_eq!(learner.learned()[0].genre, genre("genre 0"), "the one with two samples stays");
    assert_eq!(learner.learned()[1].genre, genre("genre 2"), "the oldest with one goes");
}

#[test]
fn so_many_titles_are_remembered_and_weigh_so_much() {
    let mut learner = Learner::default();
    let total = LEARNED_WEIGHT_MAX as u64 + 10;
    for number in 0..total {
        learner.record(&finished("drama", 1, number), PatternId(number.into()));
    }
    assert_eq!(learner.viewed(ProfileId::DEFAULT).count(), VIEWED_MAX);
    let last = format!("drama:{}", total - 1);
    assert_eq!(learner.viewed(ProfileId::DEFAULT).last(), Some(&content(&last)));
    assert_eq!(counts(&learner), [(total as u32, total as u32)], "counts go on");
    let pattern = learner.learned()[0].pattern().expect("it points somewhere");
    assert!(pattern.embedding.cosine(&near(1, 0, 0.0)) > 0.99);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn counts_add_up_and_learning_is_the_same_each_time(
        steps in prop::collection::vec((0u64..5, 0u64..30, 0u16..=1_000, any::<bool>()), 1..80)
    ) {
        let viewings: Vec<Viewing> = steps.iter().map(|&(theme, number, watched, finished_it)| {
            let name = if theme < 3 { "drama" } else { "crime" };
            let viewing = finished(name, theme, number);
            Viewing { watched_permille: watched, finished: finished_it, ..viewing }
        }).collect();
        let learner = learn(&viewings);
        prop_assert_eq!(&learn(&viewings), &learner);
        let counting = viewings.iter().filter(|viewing| viewing.counts()).count() as u32;
        let samples: u32 = learner.learned().iter().map(|l| l.sample_count).sum();
        prop_assert!(samples <= counting);
        for learned in learner.learned() {
            prop_assert!(learned.success_count <= learned.sample_count && learned.sample_count > 0);
            prop_assert!(learned.example.is_some() || learned.success_count == 0);
        }
        for name in ["drama", "crime"] {
            let own = learner.learned().iter().filter(|l| l.genre == genre(name)).count();
            prop_assert!(own <= SUB_TASTES_MAX);
        }
    }
}
