//! A server's end for one household: reads requests and says what it is told to say, with the same codec.

use super::{Tv, content};
use omega_sync_core::pattern::exchange::{
    Answer, Known, Outcome, Receipt, Request, Taken, Titles, Trends,
};
use omega_sync_core::pattern::message::{Encoded, Floor, Outgoing, decode, encode};
use omega_sync_core::pattern::tables::{Parts, Tables, Weights, start};
use omega_sync_core::pattern::{DIMENSIONS, Genre, Pattern, PatternError, PatternId};
use omega_sync_core::session::taste::Input;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The file of tables that everybody has.
pub fn tables_file() -> Vec<u8> {
    // A small file, because a device reads it at each start: a few axes, and the rest is corrected.
    let axis = |at: usize| (0..DIMENSIONS).map(|i| if i == at { 127 } else { 0 }).collect();
    let parts = Parts {
        genres: vec![Genre::new("drama").expect("valid")],
        centroids: vec![vec![13; DIMENSIONS]; 2],
        rows: (0..4).map(axis).collect(),
        variances: vec![160; 4],
        weights: Weights { message: 3, genre: 3, own: 15, certainty: 12 },
        step: 22,
        starts: start(),
    };
    parts.write().expect("valid")
}

pub struct Server {
    pub tables: Tables,
    /// What it decoded of the household's patterns.
    pub has: BTreeMap<PatternId, Pattern>,
    /// Global patterns, as they were when each version was released.
    pub releases: Vec<Vec<Pattern>>,
    /// What was sent of them, and what the device decoded of that.
    pub shown: RefCell<Vec<(Pattern, Pattern)>>,
    /// Patterns in one answer.
    pub page: usize,
    pub trends: Option<Trends>,
    pub feed: Vec<Pattern>,
    pub epoch: u64,
    /// Requests that it read, without their batches' bytes, and how long each frame was.
    pub seen: Vec<Seen>,
    /// Whether the next answer is lost.
    pub lose: bool,
    pub opted_out: bool,
    pub limited_s: Option<u32>,
}

/// What a request said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub known: Known,
    pub position: u32,
    pub batch_bytes: Option<usize>,
    /// Whether the batch builds on what the server has.
    pub has_bases: bool,
    pub gone: Vec<PatternId>,
    pub opted_out: bool,
}

impl Server {
    pub fn new() -> Self {
        Self {
            tables: Tables::read(&tables_file()).expect("valid"),
            has: BTreeMap::new(),
            releases: vec![Vec::new()],
            shown: RefCell::new(Vec::new()),
            page: 1_000,
            trends: None,
            feed: Vec::new(),
            epoch: 1,
            seen: Vec::new(),
            lose: false,
            opted_out: false,
            limited_s: None,
        }
    }

    /// Answers everything that a device sends, until it sends nothing more.
    pub fn serve(&mut self, tv: &mut Tv) {
        while !tv.sent.is_empty() {
            let frame = tv.sent.remove(0);
            let answer = self.answer(&frame);
            if !std::mem::take(&mut self.lose) {
                tv.handle(Input::Frame(&answer));
            }
        }
    }

    pub fn answer(&mut self, frame: &[u8]) -> Vec<u8> {
        let request = Request::decode(frame).expect("a request");
        self.seen.push(Seen {
            known: request.known,
            position: request.position,
            batch_bytes: request.batch.map(|batch| batch.message.len()),
            has_bases: request.batch.is_some_and(|batch| {
                decode(&self.tables, batch.message, &[]) == Err(PatternError::BaseUnknown)
            }),
            gone: request.gone.clone(),
            opted_out: request.opted_out,
        });
        if let Some(seconds) = self.limited_s {
            return Answer { outcome: Outcome::RateLimited(seconds), ..Answer::default() }.encode();
        }
        if request.opted_out {
            self.has.clear();
        }
        self.has.retain(|id, _| !request.gone.contains(id));
        let receipt = request.batch.map(|batch| {
            let taken = self.take(&request, batch.message);
            Receipt { number: batch.number, taken }
        });
        let mut answer = Answer {
            epoch: self.epoch,
            tables: self.tables.id(),
            receipt,
            known: request.known,
            trends: self.trends.clone(),
            ..Answer::default()
        };
        if request.tables != self.tables.id() {
            return answer.encode();
        }
        let encoded = self.release(&request, &mut answer);
        let message = encoded.as_ref().map(|encoded| &encoded.bytes[..]);
        let titles = self.titles(&request, &mut answer);
        let listed = titles.as_ref().map(|(contents, encoded)| Titles {
            contents: contents.clone(),
            message: &encoded.bytes,
        });
        Answer { patterns: message, titles: listed, ..answer }.encode()
    }

    fn take(&mut self, request: &Request, message: &[u8]) -> Taken {
        if self.opted_out {
            return Taken::OptedOut;
        }
        if request.tables != self.tables.id() {
            return Taken::OtherTables;
        }
        let bases: Vec<Pattern> = self.has.values().cloned().collect();
        match decode(&self.tables, message, &bases) {
            Ok(patterns) => {
                self.has.extend(patterns.into_iter().map(|pattern| (pattern.id, pattern)));
                Taken::Taken
            }
            Err(PatternError::BaseUnknown) => Taken::BaseUnknown,
            Err(_) => Taken::Invalid,
        }
    }

    /// The next part of the newest release, against the one that the device knows.
    fn release(&self, request: &Request, answer: &mut Answer<'_>) -> Option<Encoded> {
        let newest = self.releases.len() - 1;
        let known = usize::try_from(request.known.version).expect("small");
        answer.known.version = newest as u64;
        if known == newest {
            return None;
        }
        let before = self.releases.get(known).filter(|_| known > 0);
        if before.is_none() {
            answer.full = true;
            answer.outcome = if known > newest { Outcome::Conflict } else { Outcome::Ok };
        }
        let before = before.map_or(&[][..], Vec::as_slice);
        let now = &self.releases[newest];
        let has = |list: &[Pattern], id| list.iter().any(|pattern| pattern.id == id);
        let gone = before.iter().map(|pattern| pattern.id).filter(|&id| !has(now, id));
        answer.removed = gone.collect();
        let changed: Vec<&Pattern> = now.iter().filter(|&p| !before.contains(p)).collect();
        let from = request.position as usize;
        let part = &changed[from.min(changed.len())..changed.len().min(from + self.page)];
        if from + self.page < changed.len() {
            answer.next = (from + self.page) as u32;
            answer.more = true;
        }
        let old: Vec<Pattern> = before.iter().map(|pattern| self.as_decoded(pattern)).collect();
        let old = |id| old.iter().find(|pattern| pattern.id == id);
        let outgoing: Vec<Outgoing> =
            part.iter().map(|&pattern| Outgoing { pattern, base: old(pattern.id) }).collect();
        let encoded = encode(&self.tables, Floor::default(), &outgoing).expect("valid");
        for decoded in &encoded.decoded {
            let sent = part.iter().find(|pattern| pattern.id == decoded.id);
            let sent = sent.copied().expect("only these were sent").clone();
            self.shown.borrow_mut().push((sent, decoded.clone()));
        }
        Some(encoded)
    }

    /// A released pattern as the device decoded it, or as it is when it was not sent.
    fn as_decoded(&self, released: &Pattern) -> Pattern {
        let shown = self.shown.borrow();
        let seen = shown.iter().rev().find(|(sent, _)| sent == released);
        seen.map_or(released, |(_, decoded)| decoded).clone()
    }

    /// One more title of the feed.
    fn titles(
        &self,
        request: &Request,
        answer: &mut Answer<'_>,
    ) -> Option<(Vec<omega_sync_core::id::ContentId>, Encoded)> {
        let next = usize::try_from(request.known.titles).expect("small");
        let pattern = self.feed.get(next).filter(|_| request.wants_titles)?;
        answer.known.titles += 1;
        answer.more |= next + 1 < self.feed.len();
        let outgoing = [Outgoing { pattern, base: None }];
        let encoded = encode(&self.tables, Floor::default(), &outgoing).expect("valid");
        Some((vec![content(&format!("feed:{next}"))], encoded))
    }
}
