//! Tokens: parsed once into a [`Principal`], after which no other part of the server sees them.
//!
//! JWT (RFC 7519) hardened by RFC 8725: one algorithm on an explicit list, issuer, audience and
//! times always checked, `crit` and foreign types refused, size bounded before anything is parsed.
//! Invariant: a token or secret is never part of an error, a log line or a `Debug` text.

mod hs256;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use omega_sync_core::id::{DeviceId, HouseholdId};
use omega_sync_core::message::TOKEN_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Issuer of tokens when none is configured.
pub const ISSUER: &str = "omega-sync";
/// Audience of tokens when none is configured.
pub const AUDIENCE: &str = "omega-edge";
/// What a token allows that does not say it.
pub const SCOPE: &str = "read write control";
/// All that a token can allow.
pub const SCOPES: &str = "read write control admin";
/// Shortest secret in bytes: the output length of SHA-256 (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest secret in bytes.
pub const SECRET_BYTES_MAX: usize = 4 * 1024;
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
    /// It is signed with another algorithm than HS256, or not at all.
    #[error("the token's algorithm is not allowed: sign with HS256")]
    Algorithm,
    /// The signature is not by our secret.
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
    /// A claim is missing or has no valid value.
    #[error("the token's claim `{0}` is missing or wrong")]
    Claim(&'static str),
}

/// Why a secret can't be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error(
        "can't read the secret file {path}: {source}; put {SECRET_BYTES_MIN} random bytes there"
    )]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file can't be created.
    #[error("can't create the secret file {path}: {source}; choose a path that can be written")]
    Create {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The secret is too short or too long.
    #[error("the secret has {0} bytes; use {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} random bytes")]
    Length(usize),
}

/// The key that signs and verifies tokens.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Checks the length; white space at the end, as editors leave it, does not count.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        let bytes = bytes.trim_ascii_end();
        if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(SecretError::Length(bytes.len()))
        }
    }

    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.display().to_string(), source };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > 2 * SECRET_BYTES_MAX as u64 {
            return Err(SecretError::Length(usize::try_from(length).unwrap_or(usize::MAX)));
        }
        Self::new(&fs::read(path).map_err(failed)?)
    }

    /// Reads it, or creates a random one that only this user can read.
    pub fn read_or_create(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Create { path: path.display().to_string(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let mut random = [0; SECRET_BYTES_MIN];
                getrandom::fill(&mut random).map_err(|error| failed(error.into()))?;
                let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
                file.write_all(text.as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                Self::new(text.as_bytes())
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(failed(error)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Receive the household's state.
    pub read: bool,
    /// Change it.
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

/// Who is connected, and what they may do. Everything after it is confined to its household.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose data.
    pub household: HouseholdId,
    /// On which device.
    pub device: DeviceId,
    /// What is allowed.
    pub scope: Scope,
    /// When the permission ends, the leeway included.
    pub ends: SystemTime,
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    did: &'a str,
    scope: &'a str,
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
    exp: Option<f64>,
}

/// Issues and verifies tokens of one issuer for one audience.
pub struct Authority {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
}

impl Authority {
    /// An authority over one secret.
    pub fn new(secret: &Secret, issuer: &str, audience: &str) -> Self {
        hs256::install();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY.as_secs();
        Self {
            encoding: EncodingKey::from_secret(&secret.0),
            decoding: DecodingKey::from_secret(&secret.0),
            validation,
            issuer: issuer.into(),
            audience: audience.into(),
        }
    }

    /// Signs a token for a device of a household.
    pub fn issue(
        &self,
        household: &HouseholdId,
        device: &DeviceId,
        scope: &str,
        life: Duration,
    ) -> Result<String, AuthError> {
        let now = jsonwebtoken::get_current_timestamp();
        let claims = IssuedClaims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: household.as_str(),
            did: device.as_str(),
            scope,
            iat: now,
            nbf: now,
            exp: now.saturating_add(life.as_secs()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| AuthError::Malformed)
    }

    /// Checks a token and says who its bearer is.
    pub fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let TokenData { header, claims } =
            jsonwebtoken::decode::<ReceivedClaims>(token, &self.decoding, &self.validation)
                .map_err(|error| refusal(error.kind()))?;
        check_header(&header)?;
        let sub = claims.sub.ok_or(AuthError::Claim("sub"))?;
        let did = claims.did.ok_or(AuthError::Claim("did"))?;
        let exp = claims.exp.ok_or(AuthError::Claim("exp"))?;
        // A time beyond the range of the clock is as good as never.
        let ends = Duration::try_from_secs_f64(exp)
            .ok()
            .and_then(|exp| UNIX_EPOCH.checked_add(exp)?.checked_add(LEEWAY))
            .unwrap_or_else(|| SystemTime::now() + Duration::from_secs(u64::from(u32::MAX)));
        Ok(Principal {
            household: HouseholdId::new(&sub).map_err(|_| AuthError::Claim("sub"))?,
            device: DeviceId::new(&did).map_err(|_| AuthError::Claim("did"))?,
            scope: Scope::parse(claims.scope.as_deref().unwrap_or(SCOPE)),
            ends,
        })
    }
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
