//! Answers in gzip (RFC 1952), for who takes it, on the routes that say so.
//!
//! Who can put text into an answer, see how long it is and have it asked for again and again can guess
//! what else is in it (BREACH). So a route has to say that its answers may be packed, and none does whose
//! answers have a token, a key or a code. To pack is a favour: it never waits for a place, and what does
//! not get one leaves as it is. Invariant: at most [`GZIPS_MAX`] answers are being packed at a time.

use crate::edge::Edge;
use crate::limits::GZIP_BYTES_MIN;
use crate::metrics::{Count, Metrics};
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ToStrError, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Packs a route's answers.
pub(crate) async fn answers(
    State(edge): State<Arc<Edge>>,
    request: Request,
    next: Next,
) -> Response {
    let wanted = is_wanted(request.headers());
    let mut response = next.run(request).await;
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    if wanted { pack(&edge.gzips, &edge.metrics, response).await } else { response }
}

/// Whether somebody takes gzip, and does not like it less than plain bytes (RFC 9110, section 12.5.3).
fn is_wanted(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::to_str);
    let Ok(lists) = lists.collect::<Result<Vec<&str>, ToStrError>>() else { return false };
    let weight_of = |wanted: &[&str]| {
        lists.iter().flat_map(|list| list.split(',')).find_map(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let named = wanted.iter().any(|one| name.trim().eq_ignore_ascii_case(one));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            named.then_some(weight.unwrap_or_default())
        })
    };
    let gzip = weight_of(&["gzip", "x-gzip"]).or_else(|| weight_of(&["*"])).unwrap_or_default();
    gzip > 0.0 && gzip >= weight_of(&["identity"]).unwrap_or_default()
}

/// Packs an answer that is all here, if that is worth it and there is a place.
async fn pack(places: &Arc<Semaphore>, metrics: &Metrics, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let long = body.size_hint().exact().is_some_and(|size| size >= GZIP_BYTES_MIN as u64);
    let fit = long && head.status.is_success() && !head.headers.contains_key(CONTENT_ENCODING);
    let place = if fit { places.clone().try_acquire_owned().ok() } else { None };
    let Some(place) = place else { return Response::from_parts(head, body) };
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        // Nothing that is all here breaks off.
        return Response::from_parts(head, Body::empty());
    };
    let work = {
        let plain = plain.clone();
        move || (gzip(&plain), drop(place)).0
    };
    match spawn_blocking(work).await {
        Ok(Some(packed)) if packed.len() < plain.len() => {
            metrics.add(Count::GzipPlainBytes, plain.len());
            metrics.add(Count::GzipBytes, packed.len());
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(packed.len()));
            Response::from_parts(head, packed.into())
        }
        _ => Response::from_parts(head, plain.into()),
    }
}

fn gzip(plain: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GZIPS_MAX;

    #[test]
    fn who_wants_gzip_says_so() {
        let wanted = |lists: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(list));
            }
            is_wanted(&headers)
        };
        for list in [
            "gzip",
            "x-gzip",
            "GZIP ; q=0.5",
            "deflate, gzip;q=1.0, br",
            "*",
            "br;q=1, *;q=0.1",
            "gzip;q=0.5, identity;q=0.5",
        ] {
            assert!(wanted(&[list]), "{list}");
        }
        assert!(wanted(&["br", "gzip"]), "in a second header");
        for list in [
            "",
            "br",
            "identity",
            "gzip;q=0",
            "gzip; q=0.000",
            "gzip;q=0, *",
            "*;q=0",
            "gzip;q=x",
            "identity;q=1, gzip;q=0.9",
            "gzipped",
        ] {
            assert!(!wanted(&[list]), "{list}");
        }
        assert!(!wanted(&[]));
    }

    /// What becomes of a body.
    async fn packed(body: Vec<u8>, places: &Arc<Semaphore>) -> Response {
        let metrics = Metrics::default();
        pack(places, &metrics, Response::new(body.into())).await
    }

    #[tokio::test]
    async fn what_is_short_or_gets_no_shorter_or_no_place_stays_as_it_is() {
        let is_packed = |response: Response| response.headers().contains_key(CONTENT_ENCODING);
        let places = Arc::new(Semaphore::new(GZIPS_MAX));
        assert!(!is_packed(packed(vec![7; GZIP_BYTES_MIN - 1], &places).await));
        assert!(is_packed(packed(vec![7; GZIP_BYTES_MIN], &places).await), "the shortest");
        let mut noise = vec![0; 2 * GZIP_BYTES_MIN];
        getrandom::fill(&mut noise).unwrap();
        let response = packed(noise.clone(), &places).await;
        assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), noise);
        let all = places.clone().try_acquire_many_owned(GZIPS_MAX as u32).unwrap();
        assert!(!is_packed(packed(vec![7; GZIP_BYTES_MIN], &places).await), "no place");
        drop(all);
        assert!(is_packed(packed(vec![7; GZIP_BYTES_MIN], &places).await), "it was given back");
    }
}
