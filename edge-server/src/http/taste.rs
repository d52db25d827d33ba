//! What a household may see and decide of its part in what all households teach, and the operator's
//! feed of titles.

use crate::aggregate::Own;
use crate::auth::Principal;
use crate::clock::now;
use crate::edge::Edge;
use crate::error::{Error, FieldError};
use crate::http::body::{json, parse_body};
use crate::http::sync::BINARY;
use crate::json::schema::{self, ID_PATTERN};
use crate::json::value::content_id;
use crate::limits::{FEED_BYTES_MAX, FEED_TITLES_MAX};
use crate::store::aggregate::FeedTitle;
use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use omega_sync_core::id::ContentId;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, PatternError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Said wherever something is shown that was released without noise.
pub(crate) const NOT_PRIVATE: &str = "not private";
/// Said wherever all that is shown was released with noise.
pub(crate) const PRIVATE: &str = "private";

/// The version of the global patterns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SyncVersion {
    /// It goes up when patterns, or titles of the feed, change; another one than a device has, and not
    /// above it, means that it has to fetch everything again
    version: u64,
    /// `not private` on a server for development, which releases without noise; else not there
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy: Option<&'static str>,
}

/// `GET /api/v1/sync/version`.
pub(crate) async fn version(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<SyncVersion>, Error> {
    let (version, private) = edge.aggregate.version(principal.region.as_ref()).await?;
    Ok(Json(SyncVersion { version, privacy: (!private).then_some(NOT_PRIVATE) }))
}

/// What is kept of a household until the epoch is over.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Contributions {
    /// Whether the household takes part
    takes_part: bool,
    /// `private`, or `not private` on a server for development, which releases without noise
    privacy: &'static str,
    /// The open epoch
    epoch: u64,
    /// When it is over and what waits is counted and erased, in Unix milliseconds
    epoch_ends: u64,
    /// Patterns that wait
    waiting: Vec<WaitingPattern>,
    /// Titles that were begun on days that are not counted yet
    playing: Vec<FirstPlay>,
    /// Closed epochs in which something of the household was counted; this is all that is left of it
    counted_in: Vec<u64>,
}

/// A pattern that waits.
#[derive(Debug, Serialize, JsonSchema)]
struct WaitingPattern {
    /// The device that sent it
    device_id: String,
    /// Its id among those of the device, in hex
    pattern: String,
    /// Its genre
    genre: String,
    /// How many viewings it is made of
    sample_count: u32,
    /// How many of them were a success
    success_count: u32,
    /// Whether it is one of those that would be counted
    counts: bool,
    /// Where it points: 384 numbers
    embedding: Vec<f32>,
}

/// A title that was begun.
#[derive(Debug, Serialize, JsonSchema)]
struct FirstPlay {
    /// Days since 1970, UTC
    day: u64,
    /// Which title
    content_id: String,
}

/// `GET /api/v1/taste/tables/{id}`: the tables that patterns are coded with, whose id an answer names.
pub(crate) async fn tables(
    State(edge): State<Arc<Edge>>,
    Path(wanted): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (id, file) = edge.aggregate.tables();
    let name = format!("{id:08x}");
    if wanted != name {
        return Err(Error::NotFound);
    }
    // The id is that of the bytes, so they never change.
    let tag = format!("\"{name}\"");
    let about = [
        (ETAG, tag.clone()),
        (CACHE_CONTROL, "private, max-age=31536000, immutable".into()),
        (CONTENT_TYPE, BINARY.into()),
    ];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, file.to_vec()).into_response())
}

/// `GET /api/v1/taste/contributions`.
pub(crate) async fn contributions(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, Error> {
    edge.hub.see(&principal).await.map_err(Error::Room)?;
    let private = edge.aggregate.is_private().await?;
    let Own { kept, epoch, epoch_ends, counted } = edge.aggregate.own(&principal.household).await?;
    let patterns = kept.waiting.patterns.iter().zip(counted);
    let waiting = patterns.map(|((device, pattern), counts)| WaitingPattern {
        device_id: device.as_str().into(),
        pattern: format!("{:032x}", pattern.id.0),
        genre: pattern.genre.as_str().into(),
        sample_count: pattern.sample_count(),
        success_count: pattern.success_count(),
        counts,
        embedding: pattern.embedding.to_f32(),
    });
    let playing = kept
        .playing
        .iter()
        .map(|(day, content)| FirstPlay { day: *day, content_id: content.as_str().into() });
    Ok(json(&Contributions {
        takes_part: !kept.waiting.opted_out,
        privacy: if private { PRIVATE } else { NOT_PRIVATE },
        epoch,
        epoch_ends,
        waiting: waiting.collect(),
        playing: playing.collect(),
        counted_in: kept.waiting.counted_in.clone(),
    }))
}

/// Whether a household takes part.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TakesPart {
    /// Whether it does from now on
    takes_part: bool,
}

/// `POST /api/v1/taste/opt-out`.
pub(crate) async fn opt_out(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<TakesPart>, Error> {
    edge.aggregate.set_opted_out(&principal.household, true).await?;
    Ok(Json(TakesPart { takes_part: false }))
}

/// `DELETE /api/v1/taste/opt-out`.
pub(crate) async fn opt_in(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<TakesPart>, Error> {
    edge.aggregate.set_opted_out(&principal.household, false).await?;
    Ok(Json(TakesPart { takes_part: true }))
}

/// Titles for devices, and for the geometry of patterns.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feed {
    /// Which
    #[schemars(length(min = 1, max = 256))]
    titles: Vec<FeedItem>,
}

/// A title.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FeedItem {
    /// Which
    #[serde(deserialize_with = "content_id")]
    #[schemars(schema_with = "schema::id")]
    content_id: ContentId,
    /// Its genre
    #[schemars(length(min = 1, max = 32), regex(pattern = ID_PATTERN))]
    genre: String,
    /// What it is like: 384 numbers of all-MiniLM-L6-v2, of norm 1
    #[schemars(length(min = 384, max = 384))]
    embedding: Vec<f32>,
}

/// The feed has the titles.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Fed {
    /// How many were given
    titles: usize,
    /// The version at which the last one came to be as it is
    version: u64,
}

/// `POST /api/v1/content`.
pub(crate) async fn feed(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Json<Fed>, Error> {
    let Feed { titles } = parse_body(request, &edge, FEED_BYTES_MAX).await?;
    if titles.is_empty() || titles.len() > FEED_TITLES_MAX {
        return Err(Error::field("titles", format!("give 1 to {FEED_TITLES_MAX} titles")));
    }
    let mut errors = Vec::new();
    let mut read = Vec::new();
    for (at, item) in titles.into_iter().enumerate() {
        let mut wrong = |field: &str, error: PatternError| {
            let field = format!("titles[{at}].{field}");
            errors.push(FieldError { field, detail: error.to_string() });
        };
        let genre = Genre::new(&item.genre).map_err(|error| wrong("genre", error)).ok();
        let embedding = match item.embedding.len() {
            DIMENSIONS => Embedding::from_unit_f32(&item.embedding),
            other => Err(PatternError::Dimensions(other)),
        };
        let embedding = embedding.map_err(|error| wrong("embedding", error)).ok();
        if let (Some(genre), Some(embedding)) = (genre, embedding) {
            read.push(FeedTitle { content: item.content_id, genre, embedding });
        }
    }
    if !errors.is_empty() {
        return Err(Error::Invalid(errors));
    }
    let titles = read.len();
    let version = edge.aggregate.feed(read).await?;
    tracing::info!(titles, version, at = now().0, "titles were fed");
    Ok(Json(Fed { titles, version }))
}
