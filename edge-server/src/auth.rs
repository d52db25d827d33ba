//! Tokens: parsed once into a [`Principal`], after which no other part of the server sees them.
//!
//! JWT (RFC 7519) hardened by RFC 8725: algorithms on an explicit list, issuer, audience and times
//! always checked, `crit` and foreign types refused, size bounded before anything is parsed. Tokens
//! are our own, signed with a secret (HS256), or an identity provider's, signed with one of its
//! public keys ([`jwks`]). Invariants: a key has one algorithm, which no token can change; a token
//! or secret is never part of an error, a log line or a `Debug` text.

pub mod jwks;
mod provider;
pub(crate) mod revoked;
mod secret;

use self::jwks::Keys;
use self::revoked::Revoked;
use crate::aggregate::region::Region;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use omega_sync_core::id::{DeviceId, HouseholdId};
use omega_sync_core::message::TOKEN_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

pub use self::secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretError};

/// Issuer of tokens when none is configured.
pub const ISSUER: &str = "omega-sync";
/// Audience of tokens when none is configured.
pub const AUDIENCE: &str = "omega-edge";
/// What a token allows that does not say it.
pub const SCOPE: &str = "read write control";
/// All that a token can allow.
pub const SCOPES: &str = "read write control admin";
/// How far the clocks of issuer and server may differ.
pub const LEEWAY: Duration = Duration::from_secs(10);

/// Types a token may claim to be: a plain JWT or an OAuth access token (RFC 9068).
const TOKEN_TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthError {
    /// There is none.
    #[error("a token is missing: send `Authorization: Bearer` or ask for `omega.token.TOKEN`")]
    Missing,
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// It is not a JWT, or a claim is not of its type.
    #[error("the token can't be read")]
    Malformed,
    /// It is signed with an algorithm that the key has not, or not at all.
    #[error("the token's algorithm is not allowed here")]
    Algorithm,
    /// The identity provider has no such key.
    #[error("the token's key (`kid`) is not known: fetch another token")]
    Key,
    /// The signature is not by our secret, or not by the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired: fetch another")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet: check the issuer's clock")]
    NotYetValid,
    /// It is from another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// It is for another service.
    #[error("the token is for another audience")]
    Audience,
    /// It was revoked.
    #[error("the token was revoked: pair the device again, or fetch another token")]
    Revoked,
    /// A claim is missing or has no valid value.
    #[error("the token's claim `{0}` is missing or wrong")]
    Claim(&'static str),
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Receive the household's state.
    pub read: bool,
    /// Change the household's state.
    pub write: bool,
    /// Command other devices.
    pub control: bool,
    /// See how the server does.
    pub admin: bool,
}

impl Scope {
    /// Reads words between spaces (RFC 8693, section 4.2); those of other services are ignored.
    fn parse(text: &str) -> Self {
        let has = |word| text.split(' ').any(|other| other == word);
        let [read, write, control, admin] = ["read", "write", "control", "admin"].map(has);
        Self { read, write, control, admin }
    }
}

impl Scope {
    /// Its words, as a token has them.
    pub(crate) fn words(self) -> String {
        let all = [
            (self.read, "read"),
            (self.write, "write"),
            (self.control, "control"),
            (self.admin, "admin"),
        ];
        let had = all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word);
        had.collect::<Vec<_>>().join(" ")
    }
}

/// Who is connected, and what they may do. Everything after it is confined to its household.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The household whose data it is.
    pub household: HouseholdId,
    /// The device that the token is for.
    pub device: DeviceId,
    /// What the token allows.
    pub scope: Scope,
    /// Where the household is, if the token says it.
    pub region: Option<Region>,
    /// When the permission ends, the leeway included.
    pub ends: SystemTime,
    /// When the token was issued, in Unix seconds, if it says that.
    pub issued_s: Option<u64>,
    /// The token's name (`jti`), if it has one.
    pub token: Option<String>,
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    did: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// Each may be missing here, so that its absence has a name. `iss` as a list fails to parse.
#[derive(Deserialize)]
struct ReceivedClaims {
    #[serde(rename = "iss")]
    _iss: Option<String>,
    sub: Option<String>,
    did: Option<String>,
    scope: Option<String>,
    region: Option<String>,
    exp: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
}

/// Issues and verifies tokens for one audience.
pub struct Authority {
    own: Option<Own>,
    provider: Option<Arc<Keys>>,
    revoked: Option<Arc<Revoked>>,
}

/// The tokens that are signed here.
struct Own {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
}

impl Authority {
    /// An authority over one secret.
    pub fn new(secret: &Secret, issuer: &str, audience: &str) -> Self {
        provider::install();
        let own = Own {
            encoding: EncodingKey::from_secret(&secret.0),
            decoding: DecodingKey::from_secret(&secret.0),
            validation: validation(Algorithm::HS256, issuer, audience),
            issuer: issuer.into(),
            audience: audience.into(),
        };
        Self { own: Some(own), provider: None, revoked: None }
    }

    /// One that takes the tokens of an identity provider, and signs none.
    pub fn of_provider(keys: Arc<Keys>) -> Self {
        provider::install();
        Self { own: None, provider: Some(keys), revoked: None }
    }

    /// The same, which also takes the tokens of an identity provider.
    pub fn with_provider(self, keys: Arc<Keys>) -> Self {
        Self { provider: Some(keys), ..self }
    }

    /// The same, which takes no token that was revoked.
    pub(crate) fn with_revoked(self, revoked: Arc<Revoked>) -> Self {
        Self { revoked: Some(revoked), ..self }
    }

    /// How the identity provider's keys do, if there is one.
    pub fn keys(&self) -> Option<jwks::State> {
        self.provider.as_ref().map(|keys| keys.state())
    }

    /// Signs a token for a device of a household, which may say where that is.
    ///
    /// # Errors
    /// There is no secret to sign with.
    pub fn issue(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        scope: &str,
        region: Option<&Region>,
        life: Duration,
    ) -> Result<String, AuthError> {
        let own = self.own.as_ref().ok_or(AuthError::Algorithm)?;
        let now = jsonwebtoken::get_current_timestamp();
        let claims = IssuedClaims {
            iss: &own.issuer,
            aud: &own.audience,
            sub: household.as_str(),
            did: device.as_str(),
            scope,
            region: region.map(Region::as_str),
            jti: format!("{:016x}", getrandom::u64().map_err(|_| AuthError::Malformed)?),
            iat: now,
            nbf: now,
            exp: now.saturating_add(life.as_secs()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &own.encoding)
            .map_err(|_| AuthError::Malformed)
    }

    /// Checks a token and says who its bearer is. A key that is not known is looked for at the
    /// identity provider, if it was not asked lately.
    pub async fn admit(&self, token: &str) -> Result<Principal, AuthError> {
        let verified = self.verify(token);
        let principal = match &self.provider {
            Some(keys) if verified == Err(AuthError::Key) && keys.look_again().await => {
                self.verify(token)
            }
            _ => verified,
        }?;
        if let Some(revoked) = &self.revoked {
            revoked.check(&principal)?;
        }
        Ok(principal)
    }

    /// Checks a token with the keys that are here, and says who its bearer is.
    pub fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| refusal(error.kind()))?;
        check_header(&header)?;
        let claims = match (header.alg, &self.own, &self.provider) {
            (Algorithm::HS256, Some(own), _) => claims(token, &own.decoding, &own.validation)?,
            (Algorithm::HS256, None, _) | (_, _, None) => return Err(AuthError::Algorithm),
            (algorithm, _, Some(keys)) => {
                let key = keys.find(algorithm, header.kid.as_deref())?;
                claims(token, &key.decoding, &key.validation)?
            }
        };
        principal(claims)
    }
}

/// What every token must have, whoever signed it.
fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY.as_secs();
    validation
}

fn claims(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<ReceivedClaims, AuthError> {
    let decoded = jsonwebtoken::decode::<ReceivedClaims>(token, key, validation);
    let TokenData { claims, .. } = decoded.map_err(|error| refusal(error.kind()))?;
    Ok(claims)
}

fn principal(claims: ReceivedClaims) -> Result<Principal, AuthError> {
    let sub = claims.sub.as_deref().ok_or(AuthError::Claim("sub"))?;
    let did = claims.did.as_deref().ok_or(AuthError::Claim("did"))?;
    let exp = claims.exp.ok_or(AuthError::Claim("exp"))?;
    // A time beyond the range of the clock is as good as never.
    let ends = Duration::try_from_secs_f64(exp)
        .ok()
        .and_then(|exp| UNIX_EPOCH.checked_add(exp)?.checked_add(LEEWAY))
        .unwrap_or_else(|| SystemTime::now() + Duration::from_secs(u64::from(u32::MAX)));
    Ok(Principal {
        household: HouseholdId::new(sub).map_err(|_| AuthError::Claim("sub"))?,
        device: DeviceId::new(did).map_err(|_| AuthError::Claim("did"))?,
        scope: Scope::parse(claims.scope.as_deref().unwrap_or(SCOPE)),
        // One that can't be read says nothing; it opens no door, so it closes none.
        region: claims.region.as_deref().and_then(|region| Region::new(region).ok()),
        ends,
        // Whole seconds; a time before 1970 is as good as 1970.
        issued_s: claims.iat.map(|iat| iat as u64),
        token: claims.jti,
    })
}

/// The token in an `Authorization` header; empty when it is of another scheme.
pub(crate) fn bearer(header: &[u8]) -> &str {
    let text = std::str::from_utf8(header).unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" }
}

fn check_header(header: &Header) -> Result<(), AuthError> {
    // We understand no critical extension, so any is a reason to refuse (RFC 7515, section 4.1.11).
    let known_type = header.typ.as_deref().is_none_or(|typ| {
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        TOKEN_TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))
    });
    if header.crit.is_some() || !known_type {
        return Err(AuthError::Malformed);
    }
    Ok(())
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidAlgorithm
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::MissingAlgorithm => AuthError::Algorithm,
        ErrorKind::InvalidSignature => AuthError::Signature,
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAudience => AuthError::Audience,
        ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) => {
            let names = ["exp", "nbf", "iss", "aud", "sub"];
            match names.into_iter().find(|known| known == name) {
                Some(known) => AuthError::Claim(known),
                None => AuthError::Malformed,
            }
        }
        _ => AuthError::Malformed,
    }
}

#[cfg(test)]
pub(crate) mod tests;
