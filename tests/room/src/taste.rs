//! Answers frames about taste: all that is brought is taken, and each day has trends of its own. What
//! the real server makes of it all (`edge-server/src/aggregate`) needs many households.

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::codec::DecodeError;
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::Genre;
use omega_sync_core::pattern::exchange::{Answer, Known, Receipt, Request, Taken, Trend, Trends};

const DAY_MS: u64 = 86_400_000;
const REGION: &str = "XX";
const GENRE: &str = "drama";
const TRENDING: u64 = 20;

/// The answer to one request, by the tables with this id.
pub(crate) fn answer(now: UnixMillis, tables: u32, frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let Request { known, batch, opted_out, .. } = Request::decode(frame)?;
    let day = now.0 / DAY_MS;
    let receipt = batch.map(|batch| {
        let ours = if tables == 0 { Taken::OtherTables } else { Taken::Taken };
        Receipt { number: batch.number, taken: if opted_out { Taken::OptedOut } else { ours } }
    });
    let trends = if known.trends == day { None } else { Some(trends(day)) };
    let known = Known { trends: day, ..known };
    Ok(Answer { known, epoch: 1, tables, receipt, trends, ..Answer::default() }.encode())
}

fn trends(day: u64) -> Trends {
    let trend = |place: u64| {
        let content = ContentId::new(&format!("trend:{}", day + place)).ok()?;
        Some(Trend { content, genre: Genre::new(GENRE).ok()?, score: (TRENDING - place) as u32 })
    };
    let list = (0..TRENDING).filter_map(trend).collect();
    Trends { region: REGION.into(), until_ms: (day + 1) * DAY_MS, list }
}
