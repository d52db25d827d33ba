//! Days of trends: what is listed with noise against what would be listed without.

use crate::catalogue::Title;
use crate::home::without_replacement;
use crate::measure::rounded;
use omega_edge::aggregate::dice::Dice;
use omega_edge::aggregate::region::Region;
use omega_edge::aggregate::trends::{
    Counts, Courses, DayNoise, TITLES_OF_DAY_MAX, hide, list, next_day,
};
use omega_sync_core::id::ContentId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DAYS: usize = 28;
/// Days after which lists are compared.
const WARM_UP: usize = 7;
/// Titles that are new in the week, and their share of all plays.
const HOT: usize = 8;
const HOT_SHARE: f64 = 0.3;
/// Titles that a household begins on a day, at most.
const BEGUN_MAX: usize = 4;
/// Places of a list that are compared.
const TOP: usize = 10;

/// Four weeks of a country with so many households.
pub fn trends(titles: &[Title], households: usize, noise: DayNoise, region: &Region) -> Value {
    let mut dice = Dice::new(77);
    let weights: Vec<f64> = titles.iter().map(|title| title.popularity.powf(0.7)).collect();
    let mut running = Vec::new();
    let mut sum = 0.0;
    for weight in &weights {
        sum += weight;
        running.push(sum);
    }
    let genres: BTreeMap<&ContentId, _> = titles.iter().map(|t| (&t.content, &t.genre)).collect();
    let genre_of = |content: &ContentId| genres.get(content).map(|genre| (*genre).clone());
    let (mut noisy, mut exact) = (Courses::new(), Courses::new());
    let (mut precision, mut listed, mut days) = (0.0, 0, 0);
    let mut hot = Vec::new();
    for day in 0..DAYS {
        if day % 7 == 0 {
            hot = without_replacement(
                &weights.iter().map(|_| 1.0).collect::<Vec<_>>(),
                HOT,
                &mut dice,
            );
        }
        let mut counts = Counts::new();
        for _ in 0..households {
            let begun = dice.below(BEGUN_MAX + 1).min(TITLES_OF_DAY_MAX);
            let mut own = BTreeSet::new();
            for _ in 0..begun {
                own.insert(match dice.fraction() < HOT_SHARE {
                    true => hot[dice.below(hot.len())],
                    false => {
                        let drawn = dice.fraction() * sum;
                        running.partition_point(|sum| *sum <= drawn).min(titles.len() - 1)
                    }
                });
            }
            for at in own {
                *counts.entry((region.clone(), titles[at].content.clone())).or_default() += 1;
            }
        }
        for (courses, noise) in [(&mut noisy, Some(noise)), (&mut exact, None)] {
            let kept = hide(&counts, noise, &mut dice).unwrap_or_default();
            let kept = kept.into_iter().map(|((_, content), count)| (content, count)).collect();
            next_day(courses, &kept);
        }
        if day >= WARM_UP {
            let top = |courses: &Courses, sigma: f64| -> BTreeSet<ContentId> {
                let all = list(courses, sigma, genre_of);
                all.into_iter().take(TOP).map(|trend| trend.content).collect()
            };
            let (shown, truth) = (top(&noisy, noise.sigma()), top(&exact, noise.sigma()));
            precision += shown.intersection(&truth).count() as f64 / shown.len().max(1) as f64;
            listed += shown.len();
            days += 1;
        }
    }
    json!({
        "days": days, "hot_titles": HOT, "top": TOP, "sigma_households": rounded(noise.sigma()),
        "threshold_households": noise.threshold(),
        "precision_at_10": rounded(precision / f64::from(days)),
        "listed_of_10": rounded(f64::from(u32::try_from(listed).unwrap_or(0)) / f64::from(days)),
        "epsilon_a_day": rounded(noise.rho().epsilon(0.5e-9)),
        "epsilon_a_year": rounded(noise.epsilon_of_days(365, 1e-6)),
    })
}
