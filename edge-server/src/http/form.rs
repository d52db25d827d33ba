//! Bodies of HTML forms, as OAuth wants them (RFC 6749, section 3.2): a parameter without a value counts
//! as left out, unknown ones are ignored, and none may be there twice.

use crate::error::Error;
use crate::http::body::bytes;
use crate::limits::FORM_BYTES_MAX;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use std::collections::BTreeMap;

/// The media type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormError {
    /// The body is no form.
    Malformed,
    /// A parameter is there twice.
    Twice,
}

/// The parameters of a form. That it is none is for who reads it to say: OAuth has its own words.
pub(crate) struct Form(Result<BTreeMap<String, String>, FormError>);

impl Form {
    /// The parameters.
    pub(crate) fn read(self) -> Result<Fields, FormError> {
        self.0.map(Fields)
    }
}

/// The parameters of a form that is one.
#[derive(Debug)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A parameter that has a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = said.and_then(|value| value.split(';').next()).unwrap_or_default();
        let named = essence.trim().eq_ignore_ascii_case(FORM);
        let bytes = bytes(request, state, FORM_BYTES_MAX).await?;
        Ok(Self(if named { parse(&bytes) } else { Err(FormError::Malformed) }))
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, FormError> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(bytes).map_err(|_| FormError::Malformed)?;
    let mut fields = BTreeMap::new();
    for (name, value) in pairs {
        if fields.insert(name, value).is_some() {
            return Err(FormError::Twice);
        }
    }
    fields.retain(|_, value| !value.is_empty());
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_oauth_wants_them() {
        let fields = Fields(parse(b"a=1&b=&c=x+y%2Dz&d").unwrap());
        assert_eq!((fields.get("a"), fields.get("b")), (Some("1"), None));
        assert_eq!((fields.get("c"), fields.get("d")), (Some("x y-z"), None));
        assert_eq!(parse(b"a=1&a=1"), Err(FormError::Twice));
        assert_eq!(parse(b"a=1&a="), Err(FormError::Twice));
        assert_eq!(parse(b"a=%ff").unwrap()["a"], "\u{fffd}", "no text of ours has it");
        assert_eq!(parse(b""), Ok(BTreeMap::new()));
    }
}
