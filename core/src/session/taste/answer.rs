//! What a device does with an answer of the server.

use super::record::{GLOBALS_MAX, Record, Synced};
use super::{Changed, Ending, Flight, Output, RETRY_AFTER_MS_MAX, ROUNDS_MAX, Staged, Taste};
use crate::pattern::PatternError;
use crate::pattern::catalog::{Title, Vector};
use crate::pattern::exchange::{Answer, Outcome, Receipt, Taken, Titles};
use crate::pattern::message::decode;
use crate::pattern::upload::{ACKED_MAX, Acked, changed};
use crate::replica::Now;

impl Taste {
    pub(super) fn answered(&mut self, now: Now, bytes: &[u8], outputs: &mut Vec<Output>) {
        // One that nobody waits for: what it says comes again when it is asked for.
        let Some(flight) = self.flight.take() else { return };
        let Ok(answer) = Answer::decode(bytes) else { return self.fail(now, outputs) };
        if let Outcome::RateLimited(retry_after_s) = answer.outcome {
            let delay = (u64::from(retry_after_s) * 1_000).min(RETRY_AFTER_MS_MAX);
            self.limited_until_ms = now.steady_ms.saturating_add(delay);
            self.staged = None;
            outputs.push(Output::Synced(Ending::RateLimited));
            return;
        }
        let mut synced = Synced {
            at: now.unix,
            version: self.version,
            trends_known: answer.known.trends,
            epoch: answer.epoch,
            // A new epoch begins with nothing: what was sent counts, but is no base any more.
            bases_gone: answer.epoch != self.epoch,
            not_private: answer.not_private,
            trends: answer.trends.clone(),
            ..Synced::default()
        };
        let again = self.settle(&answer, flight, now, &mut synced, outputs);
        let readable = answer.tables == self.tables_id();
        let mut unread = false;
        if readable {
            unread = self.take_patterns(&answer, &mut synced).is_err();
        }
        self.store_synced(synced, outputs);
        if let Some(titles) = answer.titles.as_ref().filter(|_| readable) {
            unread |= self.take_titles(titles, answer.known.titles, outputs).is_err();
        }
        if unread {
            return self.fail(now, outputs);
        }
        if !readable && answer.tables != 0 {
            outputs.push(Output::FetchTables(answer.tables));
            return self.end(now, Ending::NoTables, outputs);
        }
        let more = again || answer.more || self.staged.is_some() || self.has_more_batches();
        if more && self.connected && self.rounds < ROUNDS_MAX {
            self.request(now, outputs);
        } else {
            self.end(now, Ending::Done, outputs);
        }
    }

    fn fail(&mut self, now: Now, outputs: &mut Vec<Output>) {
        self.end(now, Ending::Failed, outputs);
    }

    fn end(&mut self, now: Now, ending: Ending, outputs: &mut Vec<Output>) {
        self.staged = None;
        self.wait(now);
        outputs.push(Output::Synced(ending));
    }

    /// What became of the batch. Says whether to ask again at once.
    fn settle(
        &mut self,
        answer: &Answer<'_>,
        flight: Flight,
        now: Now,
        synced: &mut Synced,
        outputs: &mut Vec<Output>,
    ) -> bool {
        synced.gone = flight.gone;
        let Some(sent) = flight.sent else { return false };
        let Some(Receipt { taken, .. }) =
            answer.receipt.filter(|receipt| receipt.number == sent.number)
        else {
            // The server did not look at it; with the next sync.
            self.held = true;
            return false;
        };
        match taken {
            Taken::Taken | Taken::Invalid => {
                if taken == Taken::Invalid {
                    outputs.push(Output::Refused(sent.patterns.len()));
                }
                for (_, acked) in sent.patterns {
                    // What is refused is not sent again as it is, and is no base.
                    let is_base = taken == Taken::Taken;
                    synced.acked.push(Acked { at: now.unix, is_base, ..acked });
                }
                false
            }
            Taken::BaseUnknown => {
                // Without bases it can't be told again; if it is, the server is at fault.
                let had_bases = self.acked.values().any(|acked| acked.is_base);
                synced.bases_gone = true;
                self.held |= !had_bases;
                had_bases
            }
            Taken::OptedOut => {
                self.refused = true;
                false
            }
            Taken::Later => {
                self.held = true;
                false
            }
            Taken::OtherTables => false,
        }
    }

    fn has_more_batches(&self) -> bool {
        self.may_bring() && !changed(&self.candidates(), &self.acked).is_empty()
    }

    /// The global patterns: aside until the last part of a version is here.
    fn take_patterns(
        &mut self,
        answer: &Answer<'_>,
        synced: &mut Synced,
    ) -> Result<(), PatternError> {
        let version = answer.known.version;
        let full = match &self.staged {
            Some(staged) => staged.full,
            None => answer.full || self.version == 0,
        };
        if full {
            // Nothing of before is a base for what comes, nor counts as known until all of it is here.
            synced.version = 0;
        }
        let bases = if full { &[][..] } else { &self.globals };
        let read = match (&answer.patterns, &self.tables) {
            (Some(message), Some(tables)) => decode(tables, message, bases),
            _ => Ok(Vec::new()),
        };
        let continues = self.staged.as_ref().is_none_or(|staged| staged.version == version);
        let patterns = match read {
            Ok(patterns) if continues => patterns,
            refused => {
                // Bases that the server does not mean, or a part of another version: all of it anew.
                self.staged = None;
                synced.version = 0;
                return refused.and(Err(PatternError::BaseUnknown));
            }
        };
        let mut staged = self.staged.take().unwrap_or(Staged {
            version,
            full,
            removed: Vec::new(),
            patterns: Vec::new(),
            next: 0,
        });
        // A server may say any number of them, in all parts together.
        for id in &answer.removed {
            let is_known = self.globals.iter().any(|pattern| pattern.id == *id);
            if is_known && !staged.removed.contains(id) {
                staged.removed.push(*id);
            }
        }
        staged.patterns.extend(patterns);
        staged.patterns.truncate(GLOBALS_MAX);
        if answer.next == 0 {
            synced.version = version;
            synced.full = staged.full;
            synced.removed = staged.removed;
            synced.patterns = staged.patterns;
        } else {
            self.staged = Some(Staged { next: answer.next, ..staged });
        }
        Ok(())
    }

    fn take_titles(
        &mut self,
        titles: &Titles<'_>,
        mark: u64,
        outputs: &mut Vec<Output>,
    ) -> Result<(), PatternError> {
        let Some(tables) = &self.tables else { return Ok(()) };
        let patterns = decode(tables, titles.message, &[])?;
        if patterns.len() != titles.contents.len() {
            return Err(PatternError::BaseUnknown);
        }
        let mut learned = Vec::with_capacity(patterns.len());
        // Their ids say which is which, in whatever order they were encoded.
        for pattern in &patterns {
            let place = usize::try_from(pattern.id.0).ok();
            let content = place.and_then(|place| titles.contents.get(place));
            let Some(content) = content else { return Err(PatternError::BaseUnknown) };
            let (genre, vector) = (pattern.genre.clone(), Vector::of(&pattern.embedding));
            learned.push(Title { content: content.clone(), genre, vector });
        }
        if !learned.is_empty() {
            outputs.push(Output::Changed(Changed::Titles));
        }
        if !learned.is_empty() || mark != self.titles_known {
            self.store(Record::Titles(learned, Some(mark)), outputs);
        }
        Ok(())
    }

    /// Stores what an answer changed, if it changed anything.
    fn store_synced(&mut self, synced: Synced, outputs: &mut Vec<Output>) {
        let has_gone = synced.gone.iter().any(|id| self.acked.contains_key(id));
        let bases_go = synced.bases_gone && self.acked.values().any(|acked| acked.is_base);
        let contributions = !synced.acked.is_empty() || has_gone;
        let taste = synced.full
            || !synced.patterns.is_empty()
            || !synced.removed.is_empty()
            || synced.trends.is_some();
        let marks = (synced.version, synced.trends_known, synced.epoch, synced.not_private)
            != (self.version, self.trends_known, self.epoch, self.not_private);
        if taste {
            outputs.push(Output::Changed(Changed::Taste));
        }
        if contributions {
            outputs.push(Output::Changed(Changed::Contributions));
        }
        if taste || contributions || bases_go || marks {
            self.store(Record::Synced(Box::new(synced)), outputs);
        } else {
            // Not worth a write: after a restart the next sync comes a little earlier.
            self.synced_at = synced.at;
        }
    }

    /// Makes what an answer changed.
    pub(super) fn take(&mut self, synced: Synced) {
        self.synced_at = synced.at;
        self.version = synced.version;
        self.trends_known = synced.trends_known;
        self.epoch = synced.epoch;
        self.not_private = synced.not_private;
        if synced.bases_gone {
            self.acked.values_mut().for_each(|acked| acked.is_base = false);
        }
        for id in &synced.gone {
            self.acked.remove(id);
        }
        for acked in synced.acked {
            let id = acked.pattern.id;
            if self.acked.len() < ACKED_MAX || self.acked.contains_key(&id) {
                self.acked.insert(id, acked);
            }
        }
        if synced.full {
            self.globals.clear();
        }
        self.globals.retain(|pattern| !synced.removed.contains(&pattern.id));
        for pattern in synced.patterns {
            match self.globals.binary_search_by_key(&pattern.id, |known| known.id) {
                Ok(at) => self.globals[at] = pattern,
                Err(_) if self.globals.len() >= GLOBALS_MAX => {}
                Err(at) => self.globals.insert(at, pattern),
            }
        }
        if synced.trends.is_some() {
            self.trends = synced.trends;
        }
    }
}
