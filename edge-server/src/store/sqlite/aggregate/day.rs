//! Reading a day, and its end.

use super::super::database::{signed, unsigned};
use super::row::{charge, close, genre, refused, region};
use super::{all, run};
use crate::aggregate::region::Region;
use crate::aggregate::trends::{Course, Trend};
use crate::store::StoreError;
use crate::store::aggregate::{Close, DayCounts, DayEnd, TrendList};
use omega_sync_core::id::ContentId;
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

fn content(row: &Row<'_>, at: usize) -> rusqlite::Result<ContentId> {
    ContentId::new(&row.get::<_, String>(at)?).map_err(refused)
}

pub(super) fn counts(connection: &Connection, day: u64) -> Result<DayCounts, StoreError> {
    let sql =
        "SELECT region, content, count(*) FROM playing WHERE day = ?1 GROUP BY region, content";
    let counts = all(connection, sql, [signed(day)], |row| {
        Ok(((region(row, 0)?, content(row, 1)?), unsigned(row.get(2)?)))
    })?;
    Ok(counts.into_iter().collect())
}

pub(super) fn courses(
    connection: &Connection,
    private: bool,
) -> Result<BTreeMap<Region, BTreeMap<ContentId, Course>>, StoreError> {
    let sql = "SELECT region, content, score, fast, slow, variance FROM course
               WHERE private OR NOT ?1";
    let rows = all(connection, sql, [private], |row| {
        let course = Course {
            score: row.get(2)?,
            fast: row.get(3)?,
            slow: row.get(4)?,
            variance: row.get(5)?,
        };
        Ok((region(row, 0)?, content(row, 1)?, course))
    })?;
    let mut courses: BTreeMap<Region, BTreeMap<ContentId, Course>> = BTreeMap::new();
    for (region, content, course) in rows {
        courses.entry(region).or_default().insert(content, course);
    }
    Ok(courses)
}

pub(super) fn end(connection: &Connection, end: &DayEnd) -> Result<Close, StoreError> {
    if counts(connection, end.day)? != end.counts
        || !close(connection, "closed_day", end.day, end.day.saturating_sub(1))?
    {
        return Ok(Close::Stale);
    }
    run(connection, "DELETE FROM playing WHERE day <= ?1", [signed(end.day)])?;
    if !charge(connection, &end.charge)? {
        return Ok(Close::Spent);
    }
    if end.private {
        for sql in ["DELETE FROM course WHERE NOT private", "DELETE FROM trend WHERE NOT private"] {
            run(connection, sql, [])?;
        }
    }
    for of in &end.regions {
        let region = of.region.as_str();
        run(connection, "DELETE FROM course WHERE region = ?1", [region])?;
        for (content, course) in &of.courses {
            let sql = "INSERT INTO course (region, content, score, fast, slow, variance, private)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let Course { score, fast, slow, variance } = course;
            let private = end.private;
            let values = params![region, content.as_str(), score, fast, slow, variance, private];
            run(connection, sql, values)?;
        }
        run(connection, "DELETE FROM trend WHERE region = ?1", [region])?;
        for (place, trend) in of.list.iter().enumerate() {
            let sql = "INSERT INTO trend (region, place, day, content, genre, strength, private)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (content, genre) = (trend.content.as_str(), trend.genre.as_str());
            let place = place as i64;
            let values = params![
                region,
                place,
                signed(end.day),
                content,
                genre,
                trend.strength,
                end.private
            ];
            run(connection, sql, values)?;
        }
    }
    Ok(Close::Done)
}

pub(super) fn trends(
    connection: &Connection,
    of: &Region,
) -> Result<Option<TrendList>, StoreError> {
    let sql = "SELECT day, content, genre, strength, private FROM trend WHERE region = ?1
               ORDER BY place";
    let rows = all(connection, sql, [of.as_str()], |row| {
        let trend =
            Trend { content: content(row, 1)?, genre: genre(row, 2)?, strength: row.get(3)? };
        Ok((unsigned(row.get(0)?), row.get(4)?, trend))
    })?;
    let Some((day, private, _)) = rows.first() else {
        return Ok(None);
    };
    let (day, private) = (*day, *private);
    Ok(Some(TrendList { day, private, list: rows.into_iter().map(|row| row.2).collect() }))
}
