//! What devices get.

use super::super::database::{signed, unsigned};
use super::row::{self, embedding, genre, next_version, refused};
use super::{all, one, run};
use crate::aggregate::region::Region;
use crate::aggregate::release::{Place, Released};
use crate::store::StoreError;
use crate::store::aggregate::{FeedTitle, Item, PAGE_ROWS_MAX, Published, Wanted};
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::{Embedding, Genre, Pattern, PatternId};
use rusqlite::{Connection, Row, params};

const PATTERN: i64 = 0;
const TITLE: i64 = 1;
const COLUMNS: &str = "version, place, name, genre, samples, successes, embedding, private";

/// What a row says.
struct Put<'a> {
    kind: i64,
    place: &'a str,
    name: &'a str,
    genre: &'a Genre,
    counts: (u32, u32),
    embedding: &'a Embedding,
    private: bool,
}

fn put(connection: &Connection, put: &Put<'_>) -> Result<u64, StoreError> {
    let version = next_version(connection)?;
    let sql = "DELETE FROM published WHERE kind = ?1 AND place = ?2 AND name = ?3";
    run(connection, sql, params![put.kind, put.place, put.name])?;
    let sql = "INSERT INTO published (version, kind, place, name, genre, samples, successes,
                                      embedding, private)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![
        version,
        put.kind,
        put.place,
        put.name,
        put.genre.as_str(),
        put.counts.0,
        put.counts.1,
        row::bytes(put.embedding),
        put.private,
    ];
    run(connection, sql, values)?;
    Ok(unsigned(version))
}

pub(super) fn publish_pattern(
    connection: &Connection,
    released: &Released,
    private: bool,
) -> Result<(), StoreError> {
    let Released { place, pattern } = released;
    let counts = (pattern.sample_count(), pattern.success_count());
    let row = Put {
        kind: PATTERN,
        place: place.as_ref().map_or("", Region::as_str),
        name: &pattern.id.0.to_string(),
        genre: &pattern.genre,
        counts,
        embedding: &pattern.embedding,
        private,
    };
    put(connection, &row).map(drop)
}

pub(super) fn feed(connection: &Connection, titles: &[FeedTitle]) -> Result<u64, StoreError> {
    let mut version = 0;
    for FeedTitle { content, genre, embedding } in titles {
        let name = content.as_str();
        let row =
            Put { kind: TITLE, place: "", name, genre, counts: (1, 1), embedding, private: true };
        // What is fed again unchanged is not sent to every device again.
        let sql = "SELECT version FROM published WHERE kind = ?1 AND place = '' AND name = ?2
                   AND genre = ?3 AND embedding = ?4";
        let values = params![TITLE, name, genre.as_str(), row::bytes(embedding)];
        let same = one(connection, sql, values, |row| Ok(unsigned(row.get(0)?)))?;
        version = match same {
            Some(version) => version,
            None => put(connection, &row)?,
        };
    }
    Ok(version)
}

pub(super) fn published(
    connection: &Connection,
    what: &Wanted,
    after: u64,
) -> Result<Vec<Published>, StoreError> {
    let (after, most) = (signed(after), PAGE_ROWS_MAX as i64);
    let read = |kind: i64, condition: &str, places: [&str; 3]| {
        let sql = format!(
            "SELECT {COLUMNS} FROM published AS p WHERE version > ?1 AND kind = ?2 {condition}
             ORDER BY version LIMIT ?3"
        );
        let [first, second, third] = places;
        let values = params![after, kind, most, first, second, third];
        all(connection, &sql, values, |row| item(row, kind == TITLE))
    };
    // Each condition names all three places, because all three are bound.
    match what {
        Wanted::Titles => read(TITLE, "AND (?4 = '' OR ?5 = '' OR ?6 = '')", [""; 3]),
        Wanted::AllPatterns => read(PATTERN, "AND (?4 = '' OR ?5 = '' OR ?6 = '')", [""; 3]),
        Wanted::Patterns(places) => {
            let nearest = "AND p.place IN (?4, ?5, ?6) AND NOT EXISTS (
                 SELECT 1 FROM published AS nearer
                 WHERE nearer.kind = p.kind AND nearer.name = p.name
                   AND nearer.place IN (?4, ?5, ?6) AND length(nearer.place) > length(p.place))";
            let text = |at: usize| match places.get(at) {
                Some(Some(region)) => region.as_str(),
                _ => "",
            };
            read(PATTERN, nearest, [text(0), text(1), text(2)])
        }
    }
}

fn item(row: &Row<'_>, is_title: bool) -> rusqlite::Result<Published> {
    let (place, name): (String, String) = (row.get(1)?, row.get(2)?);
    let place: Place = match place.as_str() {
        "" => None,
        text => Some(Region::new(text).map_err(refused)?),
    };
    let (genre, embedding) = (genre(row, 3)?, embedding(row, 6)?);
    let item = match is_title {
        true => {
            let content = ContentId::new(&name).map_err(refused)?;
            Item::Title(FeedTitle { content, genre, embedding })
        }
        false => {
            let id = PatternId(name.parse().map_err(refused)?);
            let (samples, successes) = (row.get(4)?, row.get(5)?);
            let pattern = Pattern::new(id, genre, embedding, samples, successes);
            Item::Pattern(pattern.map_err(refused)?)
        }
    };
    Ok(Published { version: unsigned(row.get(0)?), place, private: row.get(7)?, item })
}
