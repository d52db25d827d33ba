//! One key of an identity provider, read from its set.

use super::Rules;
use crate::auth::validation;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use thiserror::Error;

/// Algorithms that a provider's key may have. None of them uses a secret that both sides have.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Keys of a set.
pub const JWKS_KEYS_MAX: usize = 64;
/// Bytes of a key's name.
pub const KID_BYTES_MAX: usize = 256;
/// Bytes of an RSA modulus: 2,048 to 4,096 bits. Larger ones take long to verify.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Bytes of a coordinate on P-256, and of an Ed25519 point.
const POINT_BYTES: usize = 32;

/// Why a key set is not fit.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It is no key set.
    #[error("this is no JWK set: {0}")]
    NoSet(String),
    /// It has more than [`JWKS_KEYS_MAX`] keys.
    #[error("the key set has {0} keys; {JWKS_KEYS_MAX} are the most")]
    TooMany(usize),
    /// Two keys have one name and one algorithm.
    #[error("the key set has two keys of one name and algorithm")]
    Twice,
    /// No key of it can be used.
    #[error("the key set has no key for {0}")]
    None(String),
}

/// A key with its name, its one algorithm, and what its tokens must have.
pub struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(in crate::auth) decoding: DecodingKey,
    pub(in crate::auth) validation: Validation,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A JWK, of whatever kind.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a set that can be used; others, such as those for encryption, are left out.
pub(super) fn parse(text: &[u8], rules: &Rules) -> Result<Vec<Arc<Key>>, KeyError> {
    let set: Set =
        serde_json::from_slice(text).map_err(|error| KeyError::NoSet(error.to_string()))?;
    if set.keys.len() > JWKS_KEYS_MAX {
        return Err(KeyError::TooMany(set.keys.len()));
    }
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for value in set.keys {
        let Some(key) = read(value, rules) else { continue };
        if keys.iter().any(|known| known.kid == key.kid && known.algorithm == key.algorithm) {
            return Err(KeyError::Twice);
        }
        keys.push(Arc::new(key));
    }
    if keys.is_empty() {
        let names = rules.algorithms.iter().map(|algorithm| format!("{algorithm:?}"));
        return Err(KeyError::None(names.collect::<Vec<_>>().join(", ")));
    }
    Ok(keys)
}

/// A key, if it is one of ours.
fn read(value: Value, rules: &Rules) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    let named = jwk.kid.as_ref().is_none_or(|kid| (1..=KID_BYTES_MAX).contains(&kid.len()));
    if !(signs && verifies && named) {
        return None;
    }
    let (algorithm, decoding) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => (Algorithm::RS256, rsa(&jwk)?),
        ("EC", Some("P-256")) => (Algorithm::ES256, p256(&jwk)?),
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_der(&point(&jwk.x)?)),
        // Among them "oct": a secret in a public list is none.
        _ => return None,
    };
    let said = jwk.alg.as_deref().is_none_or(|said| {
        said == format!("{algorithm:?}") || (algorithm == Algorithm::EdDSA && said == "Ed25519")
    });
    if !said || !rules.algorithms.contains(&algorithm) {
        return None;
    }
    let validation = validation(algorithm, &rules.issuer, &rules.audience);
    Some(Key { kid: jwk.kid, algorithm, decoding, validation })
}

fn rsa(jwk: &Jwk) -> Option<DecodingKey> {
    let [n, e] = [&jwk.n, &jwk.e].map(bytes);
    let (n, e) = (n?, e?);
    let modulus = n.iter().position(|byte| *byte != 0).map(|start| &n[start..])?;
    let fits = MODULUS_BYTES.contains(&modulus.len());
    fits.then(|| DecodingKey::from_rsa_raw_components(modulus, &e))
}

/// The point, uncompressed (SEC 1, section 2.3.3); whether it is on the curve is seen by who
/// verifies.
fn p256(jwk: &Jwk) -> Option<DecodingKey> {
    let (x, y) = (point(&jwk.x)?, point(&jwk.y)?);
    Some(DecodingKey::from_ec_der(&[&[4][..], &x, &y].concat()))
}

fn point(part: &Option<String>) -> Option<Vec<u8>> {
    bytes(part).filter(|bytes| bytes.len() == POINT_BYTES)
}

fn bytes(part: &Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part.as_ref()?).ok()
}
