//! Households of a season: what each likes, what it watches when, and what its TV learns of it.

use crate::catalogue::Title;
use omega_edge::aggregate::dice::Dice;
use omega_sync_core::id::ProfileId;
use omega_sync_core::pattern::learner::{Learner, Viewing};
use omega_sync_core::pattern::{Pattern, PatternId, Quality, SAMPLE_COUNT_MAX};

/// How strongly households lean to one title of a genre, in exponents of a cosine.
const LEANINGS: [f64; 3] = [0.0, 6.0, 15.0];
/// Titles that a household watches in a season.
const WATCHED: std::ops::Range<usize> = 60..400;
/// Share of viewings that are watched to the end.
const FINISHED: f64 = 0.85;

/// A household.
pub struct Home {
    /// Titles in the order in which it watches them.
    pub watches: Vec<usize>,
    /// How many of them so far.
    pub watched: usize,
    /// What its TV has learned.
    pub learner: Learner,
    dice: Dice,
}

impl Home {
    /// One with tastes of its own: two to six genres with shares by Zipf's law, in each a favourite, and
    /// titles by popularity and likeness to it, none twice.
    pub fn new(titles: &[Title], genres: &[Vec<usize>], seed: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5ea5);
        let size = |genre: &[usize]| -> f64 {
            genre.iter().map(|at| titles[*at].popularity.powf(0.7)).sum()
        };
        let sizes: Vec<f64> = genres.iter().map(|genre| size(genre)).collect();
        let total = WATCHED.start + dice.below(WATCHED.end - WATCHED.start);
        let leaning = LEANINGS[dice.below(LEANINGS.len())];
        let own = without_replacement(&sizes, 2 + dice.below(5), &mut dice);
        let shares: f64 = (0..own.len()).map(|at| ((at + 1) as f64).powf(-1.1)).sum();
        let mut watches = Vec::new();
        for (at, genre) in own.iter().enumerate() {
            let genre = &genres[*genre];
            let share = ((at + 1) as f64).powf(-1.1) / shares;
            let count = ((total as f64 * share) as usize).min(genre.len() / 2);
            let favourite = &titles[genre[dice.below(genre.len())]].embedding;
            let weight = |title: &usize| {
                let title = &titles[*title];
                let likeness = f64::from(title.embedding.cosine(favourite));
                title.popularity.powf(0.7) * (leaning * likeness).exp()
            };
            let weights: Vec<f64> = genre.iter().map(weight).collect();
            let chosen = without_replacement(&weights, count, &mut dice);
            watches.extend(chosen.into_iter().map(|place| genre[place]));
        }
        // Genres are mixed over the season.
        for at in (1..watches.len()).rev() {
            watches.swap(at, dice.below(at + 1));
        }
        Self { watches, watched: 0, learner: Learner::default(), dice }
    }

    /// Watches up to a place in its season.
    pub fn watch(&mut self, titles: &[Title], up_to: usize) {
        for at in self.watched..up_to.min(self.watches.len()) {
            let title = &titles[self.watches[at]];
            let finished = self.dice.fraction() < FINISHED;
            let viewing = Viewing {
                profile: ProfileId::DEFAULT,
                content: title.content.clone(),
                genre: title.genre.clone(),
                embedding: title.embedding.clone(),
                watched_permille: if finished { 1_000 } else { 200 },
                finished,
            };
            let fresh = u128::from(self.dice.roll()) << 64 | u128::from(self.dice.roll());
            self.learner.record(&viewing, PatternId(fresh));
            self.watched = at + 1;
        }
    }

    /// What its TV would send.
    pub fn patterns(&self) -> Vec<Pattern> {
        let all = self.learner.learned().iter().filter_map(|learned| learned.pattern());
        all.filter(|pattern| Quality::default().passes(pattern)).collect()
    }
}

/// What a poisoner sends: a single title, as if it had been watched without end.
pub fn poison(title: &Title, id: u128) -> Option<Pattern> {
    let (genre, embedding) = (title.genre.clone(), title.embedding.clone());
    let count = SAMPLE_COUNT_MAX;
    Pattern::new(PatternId(id), genre, embedding, count, count).ok()
}

/// Places, by weight and each at most once (Efraimidis & Spirakis 2006).
pub fn without_replacement(weights: &[f64], count: usize, dice: &mut Dice) -> Vec<usize> {
    let key = |weight: &f64, dice: &mut Dice| -(1.0 - dice.fraction()).ln() / weight.max(1e-300);
    let mut keys: Vec<(f64, usize)> =
        weights.iter().enumerate().map(|(at, weight)| (key(weight, dice), at)).collect();
    keys.sort_by(|a, b| a.0.total_cmp(&b.0));
    keys.into_iter().take(count).map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{by_genre, made_up};

    #[test]
    fn a_household_watches_nothing_twice_and_learns() {
        let titles = made_up(1);
        let genres = by_genre(&titles);
        let mut home = Home::new(&titles, &genres, 7);
        let mut seen = home.watches.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), home.watches.len());
        assert!(home.patterns().is_empty());
        home.watch(&titles, usize::MAX);
        assert_eq!(home.watched, home.watches.len());
        assert!(!home.patterns().is_empty());
    }

    #[test]
    fn heavier_places_are_drawn_more_often() {
        let mut dice = Dice::new(1);
        let first = (0..1_000).filter(|_| without_replacement(&[9.0, 1.0], 1, &mut dice) == [0]);
        let first = first.count();
        assert!(first > 850 && first < 950, "{first}");
        assert_eq!(without_replacement(&[1.0, 1.0], 5, &mut dice).len(), 2);
    }
}
