//! Patterns on the wire, whole or against an earlier version of themselves (`docs/patterns.md`).
//!
//! The sender keeps what the receiver decoded ([`Encoded::decoded`]), not what it encoded: that is the
//! base of the next version. A message carries a checksum of all bases that it builds on, so a receiver
//! that has others, or not all of them, can tell.
//!
//! Invariant: decoding uses integers only, so all ends hold the same bits; and what it does and keeps is
//! bounded by [`MESSAGE_PATTERNS_MAX`], whatever the bytes claim.

use super::entropy::{CLASSES, Kind, Models, Trellis, class};
use super::growth::{Growth, count};
use super::quantise::{Choice, Effort, Fine, Search, Spread, build, square_octaves};
use super::tables::Tables;
use super::transform::{Common, Point, STEPS, normalise, point_of, step};
use super::{DIMENSIONS, GENRE_BYTES_MAX, Genre, Pattern, PatternError, PatternId};
use crate::codec::{DecodeError, Reader, Writer, checksum};
use crate::rangecoder::{Bit, Coder, Number};

/// Most patterns in one message.
pub const MESSAGE_PATTERNS_MAX: usize = 256;
/// The version of this format.
const VERSION: u8 = 3;
/// Most bits of an id.
const ID_BITS: u32 = 128;
/// Ids that are less than 2 to this number apart are neighbours.
const SHORT_BITS: u32 = 8;
/// Patterns that tell about how many fit a message.
const GUESS_PATTERNS: usize = 16;
/// How often the size of some patterns tells how many to try next.
const GUESSES: usize = 3;
/// Least and greatest cosine that may be asked for.
const FLOORS: (f32, f32) = (0.5, 0.999);

/// The least cosine between a pattern and what the receiver decodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor(f32);

impl Floor {
    /// A cosine from 0.5 to 0.999.
    pub fn new(cosine: f32) -> Result<Self, PatternError> {
        let fits = cosine >= FLOORS.0 && cosine <= FLOORS.1;
        if fits { Ok(Self(cosine)) } else { Err(PatternError::Floor) }
    }

    /// The cosine.
    pub fn cosine(self) -> f32 {
        self.0
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self(0.98)
    }
}

/// A pattern to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The pattern.
    pub pattern: &'a Pattern,
    /// What the receiver decoded of an earlier version, if it still has that. One of another genre is
    /// not used.
    pub base: Option<&'a Pattern>,
}

impl Outgoing<'_> {
    fn base(&self) -> Option<&Pattern> {
        self.base.filter(|base| base.id == self.pattern.id && base.genre == self.pattern.genre)
    }
}

/// A message, and what its receiver will hold.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The message.
    pub bytes: Vec<u8>,
    /// How many of the patterns, counted from the first, are in it.
    pub taken: usize,
    /// The taken ones as the receiver decodes them, in its order, which need not be that of the input:
    /// bases of later versions.
    pub decoded: Vec<Pattern>,
}

/// Encodes all patterns.
///
/// # Errors
/// When there are more than [`MESSAGE_PATTERNS_MAX`] or one comes twice.
pub fn encode(
    tables: &Tables,
    floor: Floor,
    patterns: &[Outgoing<'_>],
) -> Result<Encoded, PatternError> {
    check(patterns)?;
    write(tables, floor, patterns, Effort::Full).map(|(encoded, ..)| encoded)
}

/// Encodes as many of the first patterns as fit `bytes_max`, none if the first one does not; what is
/// left goes into the next message.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_within(
    tables: &Tables,
    floor: Floor,
    patterns: &[Outgoing<'_>],
    bytes_max: usize,
) -> Result<Encoded, PatternError> {
    check(patterns)?;
    let encoded = |count: usize| {
        write(tables, floor, &patterns[..count], Effort::Full).map(|(encoded, ..)| encoded)
    };
    // From a few the size of all is told; what is told is made true by halves.
    let mut best = encoded(0)?;
    let (mut fits, mut too_many) = (0, patterns.len() + 1);
    let mut count = patterns.len().min(GUESS_PATTERNS);
    let mut guesses = GUESSES;
    while too_many - fits > 1 {
        let tried = encoded(count)?;
        let told = count * bytes_max / tried.bytes.len();
        if tried.bytes.len() <= bytes_max {
            (fits, best) = (count, tried);
        } else {
            too_many = count;
        }
        guesses = guesses.saturating_sub(1);
        let middle = fits.midpoint(too_many);
        let (least, most) = (fits + 1, (too_many - 1).max(fits + 1));
        count = if guesses > 0 { told.clamp(least, most) } else { middle.max(least) };
    }
    Ok(best)
}

/// About how many bytes [`encode`] would make, for a part of its work.
///
/// # Errors
/// Those of [`encode`].
pub fn estimate_bytes(
    tables: &Tables,
    floor: Floor,
    patterns: &[Outgoing<'_>],
) -> Result<usize, PatternError> {
    check(patterns)?;
    write(tables, floor, patterns, Effort::Quick).map(|(encoded, ..)| encoded.bytes.len())
}

/// What a message teaches.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// The message.
    pub encoded: Encoded,
    /// Probability of `false` in 1/65536 and certainty of each adaptive decision at its end.
    pub learned: Vec<(u16, u8)>,
    /// The last step of a first version.
    pub step: usize,
}

/// Encodes for training: tables learn from what was written.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_and_learn(
    tables: &Tables,
    floor: Floor,
    patterns: &[Outgoing<'_>],
) -> Result<Lesson, PatternError> {
    check(patterns)?;
    let (encoded, models, step) = write(tables, floor, patterns, Effort::Full)?;
    let learned = models.bits().iter().map(|bit| (bit.probability(), bit.count())).collect();
    Ok(Lesson { encoded, learned, step })
}

/// Decodes a message, in its own order, the one of [`Encoded::decoded`]. `bases` are this sender's
/// patterns as the receiver decoded them.
///
/// # Errors
/// [`PatternError::TablesUnknown`] when other tables were used, [`PatternError::BaseUnknown`] when a
/// pattern builds on something else than these bases, and what is wrong with the bytes.
pub fn decode(
    tables: &Tables,
    bytes: &[u8],
    bases: &[Pattern],
) -> Result<Vec<Pattern>, PatternError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(DecodeError::version(version).into());
    }
    let id = reader.fixed32()?;
    if id != tables.id() {
        return Err(PatternError::TablesUnknown(id));
    }
    let mut body = Body::new(tables, Coder::reader(reader.rest()));
    let counts = body.counts([0, 0]);
    let ids = body.ids(counts[0], &[])?;
    let again = body.ids(counts[1], &[])?;
    let base = |id| bases.iter().find(|base| base.id == PatternId(id));
    let known: Option<Vec<&Pattern>> = again.into_iter().map(base).collect();
    let known = known.ok_or(PatternError::BaseUnknown)?;
    if body.bases(&known, 0) != bases_sum(&known) {
        return Err(PatternError::BaseUnknown);
    }
    let mut patterns = Vec::new();
    for id in ids {
        patterns.push(body.first(PatternId(id), None)?);
    }
    for base in known {
        patterns.push(body.again(base, None)?);
    }
    body.coder.finish()?;
    for (at, pattern) in patterns.iter().enumerate() {
        if patterns[..at].iter().any(|other| other.id == pattern.id) {
            return Err(PatternError::Duplicate);
        }
    }
    Ok(patterns)
}

fn check(patterns: &[Outgoing<'_>]) -> Result<(), PatternError> {
    if patterns.len() > MESSAGE_PATTERNS_MAX {
        return Err(PatternError::Limit("MESSAGE_PATTERNS_MAX"));
    }
    for (at, outgoing) in patterns.iter().enumerate() {
        if patterns[..at].iter().any(|other| other.pattern.id == outgoing.pattern.id) {
            return Err(PatternError::Duplicate);
        }
    }
    Ok(())
}

fn write(
    tables: &Tables,
    floor: Floor,
    patterns: &[Outgoing<'_>],
    effort: Effort,
) -> Result<(Encoded, Models, usize), PatternError> {
    let mut firsts: Vec<&Pattern> = Vec::new();
    let mut agains: Vec<(&Pattern, &Pattern)> = Vec::new();
    for outgoing in patterns {
        match outgoing.base() {
            Some(base) => agains.push((base, outgoing.pattern)),
            None => firsts.push(outgoing.pattern),
        }
    }
    firsts.sort_by_key(|pattern| pattern.id);
    agains.sort_by_key(|(base, _)| base.id);
    let mut body = Body::new(tables, Coder::writer());
    body.counts([firsts.len(), agains.len()]);
    let ids: Vec<u128> = firsts.iter().map(|pattern| pattern.id.0).collect();
    body.ids(ids.len(), &ids)?;
    let bases: Vec<&Pattern> = agains.iter().map(|(base, _)| *base).collect();
    let ids: Vec<u128> = bases.iter().map(|base| base.id.0).collect();
    body.ids(ids.len(), &ids)?;
    body.bases(&bases, bases_sum(&bases));
    let mut decoded = Vec::new();
    for pattern in firsts {
        decoded.push(body.first(pattern.id, Some((pattern, floor, effort)))?);
    }
    for (base, pattern) in agains {
        decoded.push(body.again(base, Some((pattern, floor, effort)))?);
    }
    let mut writer = Writer::new();
    writer.u8(VERSION);
    writer.fixed32(tables.id());
    writer.raw(&body.coder.finish()?);
    let bytes = writer.finish();
    Ok((Encoded { bytes, taken: patterns.len(), decoded }, body.models, body.steps[0]))
}

/// Checksum of all that bases say, in their order.
fn bases_sum(bases: &[&Pattern]) -> u32 {
    let mut writer = Writer::new();
    for base in bases {
        writer.fixed32(base.sample_count());
        writer.fixed32(base.success_count());
        base.embedding.as_slice().iter().for_each(|unit| writer.raw(&unit.to_le_bytes()));
    }
    checksum(writer.as_slice())
}

/// What a writer gives: the pattern, how near it must come, and how hard to search.
type Given<'a> = Option<(&'a Pattern, Floor, Effort)>;

/// All that follows the head, written or read by one description.
struct Body<'a> {
    tables: &'a Tables,
    coder: Coder<'a>,
    models: Models,
    common: Common,
    /// Of first and of later versions, the step of the last one.
    steps: [usize; 2],
    genre: usize,
    samples: Number,
    misses: Number,
    growth: Growth,
}

impl<'a> Body<'a> {
    fn new(tables: &'a Tables, coder: Coder<'a>) -> Self {
        Self {
            tables,
            coder,
            models: Models::new(tables.bits()),
            common: Common::new(tables),
            steps: [tables.step(); 2],
            genre: tables.genres().len(),
            samples: count(4),
            misses: count(2),
            growth: Growth::new(),
        }
    }

    /// How many first and later versions.
    fn counts(&mut self, counts: [usize; 2]) -> [usize; 2] {
        let read = counts.map(|count| self.coder.small(count as u64));
        if read.iter().any(|count| *count > MESSAGE_PATTERNS_MAX as u64)
            || read[0] + read[1] > MESSAGE_PATTERNS_MAX as u64
        {
            self.coder.fail(DecodeError::limit("MESSAGE_PATTERNS_MAX"));
            return [0, 0];
        }
        read.map(|count| count as usize)
    }

    /// Different ids in ascending order: each as how far it is beyond the least that it could be. Of
    /// that the length in bits comes first, after the first id by learned decisions: most are neighbours.
    fn ids(&mut self, count: usize, ids: &[u128]) -> Result<Vec<u128>, PatternError> {
        let mut short = [Bit::default(); SHORT_BITS as usize];
        let mut read: Vec<u128> = Vec::new();
        for at in 0..count {
            let beyond = |before: &u128| before.checked_add(1);
            let low = read.last().map_or(Some(0), beyond);
            let low = low.ok_or(DecodeError::invalid("pattern id"))?;
            let gap = ids.get(at).map_or(0, |id| id - low);
            let told = ID_BITS - gap.leading_zeros();
            let least = if at == 0 { 0 } else { SHORT_BITS };
            let mut length = 0;
            while length < least && self.coder.bit(&mut short[length as usize], told > length) {
                length += 1;
            }
            if length == least {
                let (more, all) = (told.saturating_sub(least), ID_BITS - least + 1);
                length += self.coder.uniform(more.into(), all.into()) as u32;
            }
            let low_bits = length.saturating_sub(1);
            let mut value = u128::from(length > 0);
            for place in [96, 64, 32, 0] {
                let width = low_bits.saturating_sub(place).min(32);
                let bits = (gap >> place) as u64 & ((1 << width) - 1);
                value = value << width | u128::from(self.coder.direct(width, bits));
            }
            read.push(low.checked_add(value).ok_or(DecodeError::invalid("pattern id"))?);
        }
        Ok(read)
    }

    /// The checksum of the bases, if there are any.
    fn bases(&mut self, bases: &[&Pattern], sum: u32) -> u32 {
        match bases {
            [] => bases_sum(bases),
            _ => self.coder.direct(32, sum.into()) as u32,
        }
    }

    /// A first version.
    fn first(&mut self, id: PatternId, given: Given) -> Result<Pattern, PatternError> {
        let genre = self.genre(given.map(|(pattern, ..)| &pattern.genre))?;
        let place = self.tables.place(&genre);
        let samples = given.map_or(0, |(pattern, ..)| pattern.sample_count());
        let samples = self.coder.number(&mut self.samples, samples.into()) as u32;
        let misses = given.map_or(0, |(p, ..)| p.sample_count() - p.success_count());
        let misses = self.coder.number(&mut self.misses, misses.into()) as u32;
        let prior = self.common.prior(self.tables, place);
        let spread = Spread::First(self.common.variances(self.tables));
        let (point, levels) = self.point(Kind::First, given, &prior, &spread)?;
        self.common.add(self.tables, place, &point, &levels);
        let successes = samples.checked_sub(misses).ok_or(DecodeError::invalid("counts"))?;
        Pattern::new(id, genre, normalise(&point)?, samples, successes)
    }

    /// A later version.
    fn again(&mut self, base: &Pattern, given: Given) -> Result<Pattern, PatternError> {
        let old = [base.sample_count(), base.sample_count() - base.success_count()];
        let new =
            given.map_or(old, |(p, ..)| [p.sample_count(), p.sample_count() - p.success_count()]);
        let [samples, misses] = self.growth.counts(&mut self.coder, old, new)?;
        let successes = samples.checked_sub(misses).ok_or(DecodeError::invalid("counts"))?;
        let near = |floor: Floor, pattern: &Pattern| {
            f64::from(pattern.embedding.cosine(&base.embedding)) >= f64::from(floor.cosine()) + 1e-5
        };
        let moved = given.is_some_and(|(pattern, floor, _)| !near(floor, pattern));
        let embedding = if self.models.moved(&mut self.coder, moved) {
            let prior = point_of(&base.embedding);
            let spread = Spread::Again(old[0], samples);
            normalise(&self.point(Kind::Again, given, &prior, &spread)?.0)?
        } else {
            base.embedding.clone()
        };
        Pattern::new(base.id, base.genre.clone(), embedding, samples, successes)
    }

    fn genre(&mut self, given: Option<&Genre>) -> Result<Genre, PatternError> {
        let count = self.tables.genres().len();
        let place = given.map_or(0, |genre| self.tables.place(genre));
        let same = place == self.genre && place < count;
        if !self.models.same_genre(&mut self.coder, same) {
            self.genre = self.coder.uniform(place as u64, count as u64 + 1) as usize;
        }
        if let Some(genre) = self.tables.genres().get(self.genre) {
            return Ok(genre.clone());
        }
        let text = given.map_or(&[][..], |genre| genre.as_str().as_bytes());
        let length = self.coder.uniform(text.len() as u64, GENRE_BYTES_MAX as u64 + 1) as usize;
        let byte = |at: usize| text.get(at).copied().unwrap_or(0);
        let read: Vec<u8> =
            (0..length).map(|at| self.coder.direct(8, byte(at).into()) as u8).collect();
        let text = core::str::from_utf8(&read).map_err(|_| DecodeError::invalid("UTF-8 text"))?;
        let genre = Genre::new(text)?;
        if genre.as_str() != text || self.tables.place(&genre) < count {
            return Err(DecodeError::invalid("genre").into());
        }
        Ok(genre)
    }

    /// An embedding before it is scaled, and the levels of its coefficients.
    fn point(
        &mut self,
        kind: Kind,
        given: Given,
        prior: &Point,
        spread: &Spread,
    ) -> Result<(Point, Vec<(usize, i32)>), PatternError> {
        let before = self.steps[kind as usize];
        let choice = match given {
            Some((pattern, floor, effort)) => {
                let (tables, models) = (self.tables, &self.models);
                let search = Search { tables, models, floor, effort, kind, spread, before };
                Some(search.run(&pattern.embedding, prior)?)
            }
            None => None,
        };
        let choice = self.choice(kind, choice, spread)?;
        self.steps[kind as usize] = choice.step;
        Ok(build(self.tables, prior, &choice))
    }

    fn choice(
        &mut self,
        kind: Kind,
        given: Option<Choice>,
        spread: &Spread,
    ) -> Result<Choice, PatternError> {
        let (coder, models) = (&mut self.coder, &mut self.models);
        let before = self.steps[kind as usize] as i32;
        let scale = models.scale(coder, kind, given.as_ref().map_or(0, |choice| choice.scale));
        let at = given.as_ref().map_or(0, |choice| choice.step as i32 - before);
        let at = before + models.step(coder, kind, at);
        if !(0..STEPS as i32).contains(&at) {
            return Err(DecodeError::invalid("step").into());
        }
        let size = step(at as usize);
        let square = square_octaves(size);
        let mut quanta = spread.octaves(self.tables, size);
        let mut trellis = Trellis::default();
        for (place, quantum) in quanta.iter_mut().enumerate() {
            let of = class(*quantum, square, scale) + CLASSES * trellis.quantiser();
            let value = given.as_ref().map_or(0, |choice| choice.quanta[place]);
            *quantum = models.quantum(coder, kind, of, value);
            trellis.pass(*quantum);
        }
        let fine = given.as_ref().and_then(|choice| choice.fine.as_ref());
        let mut read = None;
        if models.fine(coder, fine.is_some()) {
            let class = fine.map_or(0, |fine| fine.class as u64);
            let class = coder.uniform(class, CLASSES as u64) as usize;
            let step = fine.map_or(0, |fine| fine.step as u64);
            let step = coder.uniform(step, STEPS as u64) as usize;
            let quanta = (0..DIMENSIONS)
                .map(|at| {
                    models.quantum(coder, Kind::Fine, class, fine.map_or(0, |fine| fine.quanta[at]))
                })
                .collect();
            read = Some(Fine { class, step, quanta });
        }
        Ok(Choice { scale, step: at as usize, quanta, fine: read })
    }
}
