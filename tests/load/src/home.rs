//! A household whose TVs write in turn, each when all of them have what was written before.

use crate::{Gone, Tv};
use futures_util::future::join_all;
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::{Intent, PlayState, Progress};
use omega_sync_core::replica::Replica;
use std::time::{Duration, Instant};

/// One of so many writes adds a title; the others say how far one was watched.
const ADD_EVERY: u32 = 10;
/// What is watched.
const WATCHED: &str = "tmdb:603";
/// Its length in seconds; nobody writes as often.
const DURATION_S: u32 = 1_000_000;

/// How long a write took.
#[derive(Debug)]
pub struct Took {
    /// Until its author had the ack.
    pub ack: Duration,
    /// Until each of the others had it merged.
    pub fan_outs: Vec<Duration>,
}

/// A household.
pub struct Home {
    /// Its TVs.
    pub tvs: Vec<Tv>,
    /// How many writes were acknowledged.
    pub acked: u32,
}

impl Home {
    /// The next TV writes.
    ///
    /// # Errors
    /// A socket is gone; what was acknowledged before that counts.
    pub async fn write(&mut self) -> Result<Took, Gone> {
        let number = self.acked + 1;
        let author = number as usize % self.tvs.len();
        let began = Instant::now();
        let all = self.tvs.iter_mut().enumerate().map(|(at, tv)| async move {
            if at == author {
                tv.operate(intent(number)?).await?;
                tv.until(|tv| tv.client.replica().outbox().is_empty()).await?;
            } else {
                tv.until(|tv| knows(tv.client.replica(), number)).await?;
            }
            Ok::<_, Gone>(began.elapsed())
        });
        let mut all = join_all(all).await;
        let ack = all.swap_remove(author)?;
        self.acked = number;
        Ok(Took { ack, fan_outs: all.into_iter().collect::<Result<_, _>>()? })
    }
}

/// A write of the first so many that a replica does not know, if there is one.
pub fn missing(acked: u32, replica: &Replica) -> Option<u32> {
    let last = (1..=acked).rev().find(|number| !number.is_multiple_of(ADD_EVERY));
    let adds = (1..=acked).filter(|number| number.is_multiple_of(ADD_EVERY));
    adds.chain(last).find(|number| !knows(replica, *number))
}

/// What is written by a number.
fn intent(number: u32) -> Result<Intent, Gone> {
    if number.is_multiple_of(ADD_EVERY) {
        return Ok(Intent::Add(ProfileId::DEFAULT, title(number)?));
    }
    let progress =
        Progress { position_s: number, duration_s: DURATION_S, state: PlayState::Playing };
    Ok(Intent::Progress(ProfileId::DEFAULT, ContentId::new(WATCHED)?, Some(progress)))
}

/// Whether a replica has this write, or one that came after it.
fn knows(replica: &Replica, number: u32) -> bool {
    if number.is_multiple_of(ADD_EVERY) {
        return title(number).is_ok_and(|title| replica.is_listed(ProfileId::DEFAULT, &title));
    }
    let watched = ContentId::new(WATCHED).ok();
    let item = watched.and_then(|watched| replica.progress(ProfileId::DEFAULT, &watched));
    item.is_some_and(|item| item.progress.position_s >= number)
}

fn title(number: u32) -> Result<ContentId, Gone> {
    Ok(ContentId::new(&format!("tmdb:{}", 1_000 + number))?)
}
