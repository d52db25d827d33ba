//! Patterns as households would learn them, drawn from a catalogue: each the mean of some titles of one
//! genre that are near a title chosen at random.

use super::Catalogue;
use omega_sync_core::id::Random;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, Pattern, PatternError, PatternId};

/// A genre needs so many titles for patterns to be drawn from it.
const GENRE_TITLES_MIN: usize = 5;

/// Draws patterns; the same seed draws the same ones.
pub struct Drawer<'a> {
    catalogue: &'a Catalogue,
    weights: Vec<f64>,
    /// Genres with enough titles, and the titles' places.
    genres: Vec<(Genre, Vec<usize>)>,
    random: Random,
    /// Of each pattern drawn last, the titles.
    watched: Vec<Vec<usize>>,
}

impl<'a> Drawer<'a> {
    /// Fails when no genre has enough titles.
    pub fn new(catalogue: &'a Catalogue, popularity: bool, seed: u8) -> Result<Self, PatternError> {
        let mut genres: Vec<(Genre, Vec<usize>)> =
            catalogue.genres().into_iter().map(|genre| (genre, Vec::new())).collect();
        for (at, title) in catalogue.titles().iter().enumerate() {
            let own = title.genres.first();
            if let Some((_, list)) = genres.iter_mut().find(|(genre, _)| Some(genre) == own) {
                list.push(at);
            }
        }
        genres.retain(|(_, list)| list.len() >= GENRE_TITLES_MIN);
        if genres.is_empty() {
            return Err(PatternError::Genre);
        }
        let weights = catalogue.weights(popularity);
        let random = Random::new([seed; 16]);
        Ok(Self { catalogue, weights, genres, random, watched: Vec::new() })
    }

    /// So many new patterns.
    pub fn patterns(&mut self, count: usize) -> Result<Vec<Pattern>, PatternError> {
        self.watched.clear();
        (0..count).map(|_| self.pattern()).collect()
    }

    /// The patterns drawn last, after one to four more viewings each.
    pub fn grown(&mut self, patterns: &[Pattern]) -> Result<Vec<Pattern>, PatternError> {
        let mut grown = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            let Some((_, list)) = self.genres.iter().find(|(genre, _)| *genre == pattern.genre)
            else {
                continue;
            };
            let list = list.clone();
            for _ in 0..=self.random.up_to(3) {
                let next = list[self.random.up_to(list.len() as u64 - 1) as usize];
                self.watched[at].push(next);
            }
            let watched = self.watched[at].clone();
            grown.push(self.mean(pattern.id, &pattern.genre, &watched)?);
        }
        Ok(grown)
    }

    fn pattern(&mut self) -> Result<Pattern, PatternError> {
        // Large genres are watched more, but not as much more as they are larger.
        let roots: Vec<f64> =
            self.genres.iter().map(|(_, list)| (list.len() as f64).sqrt()).collect();
        let at = self.pick(&roots);
        let (genre, mut list) = self.genres[at].clone();
        let anchor = list[self.random.up_to(list.len() as u64 - 1) as usize];
        let near = |at: &usize| {
            let pairs = self.catalogue.titles()[*at].embedding.iter();
            pairs.zip(&self.catalogue.titles()[anchor].embedding).map(|(a, b)| a * b).sum::<f32>()
        };
        let mut sorted: Vec<(f32, usize)> = list.iter().map(|at| (near(at), *at)).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        // From a sub-taste of a quarter of the genre to all of it.
        let quarter = list.len() / 4;
        let kept = quarter + self.random.up_to((list.len() - quarter) as u64) as usize;
        list = sorted.into_iter().take(kept.max(GENRE_TITLES_MIN)).map(|(_, at)| at).collect();
        let most = (list.len() * 2 / 3).clamp(GENRE_TITLES_MIN, 60);
        let count = (10 + self.random.up_to(10) + self.random.up_to(10)) as usize;
        let mut watched = Vec::new();
        while watched.len() < count.min(most) {
            let weights: Vec<f64> = list.iter().map(|at| self.weights[*at]).collect();
            let at = self.pick(&weights);
            watched.push(list.swap_remove(at));
        }
        let id = u128::from(self.random.bits()) << 64 | u128::from(self.random.bits());
        let pattern = self.mean(PatternId(id), &genre, &watched)?;
        self.watched.push(watched);
        Ok(pattern)
    }

    fn mean(
        &mut self,
        id: PatternId,
        genre: &Genre,
        watched: &[usize],
    ) -> Result<Pattern, PatternError> {
        let mut sum = vec![0.0f32; DIMENSIONS];
        for at in watched {
            let embedding = &self.catalogue.titles()[*at].embedding;
            sum.iter_mut().zip(embedding).for_each(|(sum, x)| *sum += x);
        }
        let count = watched.len() as u32;
        let embedding = Embedding::from_f32(&sum)?;
        let success = count - self.random.up_to(u64::from(count) * 3 / 10) as u32;
        Pattern::new(id, genre.clone(), embedding, count, success)
    }

    fn pick(&mut self, weights: &[f64]) -> usize {
        let total: f64 = weights.iter().sum();
        let mut left = self.random.up_to((1 << 53) - 1) as f64 / (1u64 << 53) as f64 * total;
        for (at, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return at;
            }
        }
        weights.len() - 1
    }
}
