//! Bodies and parameters: read once, at the border, into values that can't be wrong. What is wrong
//! is named by its field.

use crate::error::{Error, FieldError};
use crate::limits::JSON_BYTES_MAX;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const JSON: &str = "application/json";
/// Of a body's digest, as its tag: enough that no two bodies have the same.
const TAG_BYTES: usize = 16;

/// A JSON answer.
pub(crate) fn json<T: Serialize>(body: &T) -> Response {
    Json(body).into_response()
}

/// A JSON answer that a client may ask for again and again: one that has it already is told so.
pub(crate) fn tagged<T: Serialize>(headers: &HeaderMap, body: &T) -> Result<Response, Error> {
    let body = serde_json::to_vec(body).map_err(|_| Error::Internal)?;
    let digest = Sha256::digest(&body);
    let tag: String = digest.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    // Weak: packed or not, it means the same and has other bytes.
    let tag = format!("W/\"{tag}\"");
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut given = given.flat_map(|value| value.split(',')).map(str::trim);
    let strong = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let known = given.any(|given| given == "*" || strong(given) == strong(&tag));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(CONTENT_TYPE, JSON)], body).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::try_from(tag).map_err(|_| Error::Internal)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.append(VARY, HeaderValue::from_static("authorization"));
    Ok(response)
}

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Ok(Self(parse_body(request, state, JSON_BYTES_MAX).await?))
    }
}

/// Refuses a body by what its headers say of it, before any of it is read: one that is compressed, so
/// that no few bytes become many here, and one that says that it is too long.
pub(crate) fn check_head(headers: &HeaderMap, bytes_max: usize) -> Result<(), Error> {
    let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Error::Compressed);
    }
    let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = said.and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > bytes_max { Err(Error::TooLarge(bytes_max)) } else { Ok(()) }
}

/// All of a body, which may not be longer than the route's limit.
pub(crate) async fn bytes<S: Send + Sync>(
    request: Request,
    state: &S,
    bytes_max: usize,
) -> Result<Bytes, Error> {
    check_head(request.headers(), bytes_max)?;
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Error::TooLarge(bytes_max)
        }
        _ => Error::Malformed("the body broke off"),
    })
}

/// A JSON body of another length than most.
pub(crate) async fn parse_body<T: DeserializeOwned, S: Send + Sync>(
    request: Request,
    state: &S,
    bytes_max: usize,
) -> Result<T, Error> {
    check_json(&request)?;
    parse(&bytes(request, state, bytes_max).await?)
}

fn check_json(request: &Request) -> Result<(), Error> {
    let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = said.and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_json = essence.trim().eq_ignore_ascii_case(JSON);
    if is_json { Ok(()) } else { Err(Error::MediaType(JSON)) }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let body = deserialize(&mut reader)?;
    reader.end().map_err(|_| Error::Malformed("the body is no JSON"))?;
    Ok(body)
}

/// Reads JSON that is parsed already.
pub(crate) fn read_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    deserialize(value)
}

fn deserialize<'de, D, T>(reader: D) -> Result<T, Error>
where
    D: Deserializer<'de, Error = serde_json::Error>,
    T: DeserializeOwned,
{
    serde_path_to_error::deserialize(reader).map_err(|error| {
        if !error.inner().is_data() {
            return Error::Malformed("the body is no JSON");
        }
        let path = error.path().to_string();
        let message = error.inner().to_string();
        // The place of an error in the text helps nobody who writes JSON by program.
        let detail = message.split(" at line ").next().unwrap_or_default();
        let path = if path == "." || path == "?" { "" } else { &path };
        // A field that is missing is no part of the path, so it is taken from the message.
        let named = detail.strip_prefix("missing field `").or(detail
            .strip_prefix("unknown field `")
            .or_else(|| detail.strip_prefix("duplicate field `")));
        let field = match named.and_then(|rest| rest.split('`').next()) {
            Some(name) if path.is_empty() => name.to_owned(),
            Some(name) if !path.ends_with(name) => format!("{path}.{name}"),
            _ => path.to_owned(),
        };
        Error::field(&field, detail)
    })
}

/// The parameters of a request, each of which must be taken.
pub(crate) struct Parameters {
    given: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Error::Malformed("the parameters can't be read"))?;
        let mut parameters = Self { given: BTreeMap::new(), errors: Vec::new() };
        for (name, value) in query.0 {
            if parameters.given.insert(name.clone(), value).is_some() {
                parameters.wrong(&name, "it is there twice".into());
            }
        }
        Ok(parameters)
    }
}

impl Parameters {
    /// Takes one; `None` when it is missing or wrong.
    pub(crate) fn take<T, E: ToString>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.given.remove(name)?;
        read(&value).map_err(|error| self.wrong(name, error.to_string())).ok()
    }

    fn wrong(&mut self, name: &str, detail: String) {
        self.errors.push(FieldError { field: name.into(), detail });
    }

    /// All were taken.
    ///
    /// # Errors
    /// One was wrong, or nobody took it.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        for name in std::mem::take(&mut self.given).into_keys() {
            self.wrong(&name, "there is no such parameter".into());
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "number")]
        _number: u8,
    }

    fn wrong_field(text: &str) -> String {
        match parse::<Outer>(text.as_bytes()) {
            Err(Error::Invalid(errors)) => errors[0].field.clone(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parse::<Outer>(br#"{"inner": {"number": 1}}"#).is_ok());
        for (text, field) in [
            ("{}", "inner"),
            ("[]", ""),
            (r#"{"inner": 1}"#, "inner"),
            (r#"{"inner": {}}"#, "inner.number"),
            (r#"{"inner": {"number": 256}}"#, "inner.number"),
            (r#"{"inner": {"number": 1, "more": 2}}"#, "inner.more"),
            (r#"{"inner": {"number": 1, "number": 2}}"#, "inner.number"),
            (r#"{"other": 1}"#, "other"),
        ] {
            assert_eq!(wrong_field(text), field, "{text}");
        }
        for text in ["", "{", "nonsense", r#"{"inner": {"number": 1}} {}"#, "\u{1}"] {
            let read = parse::<Outer>(text.as_bytes());
            assert!(matches!(read, Err(Error::Malformed(_))), "{text}: {read:?}");
        }
    }
}
