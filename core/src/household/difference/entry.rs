//! One title of a difference: what was touched of it, and how that is coded.

use crate::causal::Dot;
use crate::crdt::lww::LwwRegister;
use crate::household::Profile;
use crate::household::field::Fields;
use crate::id::ContentId;
use crate::operation::Progress;

/// What was touched of one title; the outer `None` is untouched.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) content: Option<ContentId>,
    /// Its live adds; none when it is off the watchlist.
    pub(super) watch: Option<Vec<Dot>>,
    /// Its progress; `None` inside when there is none any more.
    pub(super) progress: Option<Option<LwwRegister<Option<Progress>>>>,
    /// The receiver has progress with this duration.
    pub(super) same_duration: bool,
    /// The receiver has a value of a touched or an untouched key.
    pub(super) is_known: bool,
}

/// On which of a profile's lists a touched key is.
pub(super) enum List {
    Watchlist,
    Progress,
}

impl Entry {
    /// Takes over the value that a touched key has.
    pub(super) fn note(
        &mut self,
        profile: &Profile,
        content: &ContentId,
        list: List,
        is_new: bool,
    ) {
        match list {
            List::Watchlist => self.watch = Some(profile.watchlist.dots(content).to_vec()),
            List::Progress => {
                self.progress = Some(profile.progress.get(content).cloned());
                self.same_duration = !is_new;
            }
        }
        self.is_known |= !is_new;
    }

    /// `known`: the receiver has the title, and perhaps its duration.
    pub(super) fn code(&mut self, fields: &mut Fields, known: Option<Option<u32>>) {
        let is_known = known.is_some();
        let models = &mut fields.entry[usize::from(is_known)];
        let coder = &mut fields.coder;
        let watch = coder.bit(&mut models.watch, self.watch.is_some());
        let progress = !watch || coder.bit(&mut models.progress, self.progress.is_some());
        let gone = self.watch.as_ref().is_none_or(Vec::is_empty);
        let no_watch = watch && coder.bit(&mut models.no_watch, gone);
        let no_progress = progress
            && coder.bit(&mut models.no_progress, self.progress.iter().all(Option::is_none));
        if watch {
            let dots = self.watch.take().unwrap_or_default();
            self.watch = Some(if no_watch { Vec::new() } else { fields.dots(&dots) });
        }
        if progress {
            let same = self.same_duration;
            let register = self.progress.take().flatten();
            self.progress = Some(if no_progress {
                None
            } else {
                Some(fields.register(register, |fields, value| {
                    fields.progress(value.flatten(), same, known)
                }))
            });
        }
    }
}
