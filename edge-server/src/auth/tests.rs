//! Attacks on tokens, each against a token that is otherwise accepted.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn authority() -> Authority {
    Authority::new(&Secret::new(KEY).unwrap(), ISSUER, AUDIENCE)
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// The claims of a good token.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "home", "did": "tv", "scope": "read write",
        "nbf": now(), "exp": now() + 60,
    })
}

/// The claims with one in place of another; `null` takes it away.
pub(crate) fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims.as_object_mut().unwrap().insert(name.into(), value),
    };
    claims
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs whatever header and claims it is given, as an attacker with the key could.
fn sign(header: &Value, claims: &Value) -> String {
    sign_with(KEY, header, claims)
}

fn sign_with(key: &[u8], header: &Value, claims: &Value) -> String {
    use hmac::{Hmac, Mac};
    let body = [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
    let mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap().chain_update(&body);
    format!("{body}.{}", base64url(&mac.finalize().into_bytes()))
}

/// Every kind of token that no route may take, for a server with this key: what RFC 8725 warns of,
/// and what an issuer may get wrong.
pub(crate) fn attacks(key: &[u8]) -> Vec<(&'static str, String)> {
    let claims = || with("scope", SCOPES.into());
    let but = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        sign_with(key, &hs256(), &claims)
    };
    let headed = |name: &str, value: Value| {
        let mut header = hs256();
        header[name] = value;
        sign_with(key, &header, &claims())
    };
    let by = |key: &[u8], header: Value| sign_with(key, &header, &claims());
    let good = sign_with(key, &hs256(), &claims());
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let none = base64url(json!({"alg": "none"}).to_string().as_bytes());
    let forged = base64url(with("sub", "other".into()).to_string().as_bytes());
    // A public key that everybody can read, used as if it were the secret.
    let public = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
    let kid = |kid: &str| json!({"alg": "HS256", "typ": "JWT", "kid": kid});
    vec![
        ("none", String::new()),
        ("no JWT", "x.y.z".into()),
        ("two parts", format!("{header}.{body}")),
        ("alg none", format!("{none}.{body}.")),
        ("alg none with a signature", format!("{none}.{body}.{signature}")),
        ("alg RS256, signed as HS256", headed("alg", "RS256".into())),
        ("alg HS512", headed("alg", "HS512".into())),
        ("signed with a public key", by(public, hs256())),
        ("signed with another secret", by(&[b'x'; 32], hs256())),
        ("signed with the empty key of a kid", by(b"", kid("../../../dev/null"))),
        ("signed with the key that a kid names", by(b"x", kid("' union all select 'x"))),
        ("signed with the key in its header", {
            let jwk = json!({"kty": "oct", "k": base64url(&[7; 32])});
            by(&[7; 32], json!({"alg": "HS256", "typ": "JWT", "jwk": jwk}))
        }),
        ("other claims under the signature", format!("{header}.{forged}.{signature}")),
        ("without signature", format!("{header}.{body}.")),
        ("encrypted type", headed("typ", "JWE".into())),
        ("another kind of token", headed("typ", "secevent+jwt".into())),
        ("critical extension", headed("crit", json!(["exp"]))),
        ("expired", but("exp", (now() - LEEWAY.as_secs() - 2).into())),
        ("without end", but("exp", Value::Null)),
        ("not yet", but("nbf", (now() + 3600).into())),
        ("another issuer", but("iss", "evil".into())),
        ("another audience", but("aud", "other-service".into())),
        ("without household", but("sub", Value::Null)),
        ("without device", but("did", Value::Null)),
        ("too long", but("more", "x".repeat(TOKEN_BYTES_MAX).into())),
    ]
}

#[test]
fn no_attack_is_a_token() {
    for (name, token) in attacks(KEY) {
        assert!(authority().verify(&token).is_err(), "{name}");
    }
}

fn refusal(header: &Value, claims: &Value) -> AuthError {
    authority().verify(&sign(header, claims)).unwrap_err()
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

#[test]
fn a_good_token_becomes_a_principal() {
    let exp = now() + 60;
    let principal = authority().verify(&sign(&hs256(), &with("exp", exp.into()))).unwrap();
    assert_eq!(principal.household.as_str(), "home");
    assert_eq!(principal.device.as_str(), "tv");
    assert_eq!(principal.scope, Scope { read: true, write: true, control: false, admin: false });
    assert_eq!(principal.ends, UNIX_EPOCH + Duration::from_secs(exp) + LEEWAY);
}

#[test]
fn an_issued_token_is_accepted() {
    let (household, device) = (HouseholdId::new("h").unwrap(), DeviceId::new("d").unwrap());
    let issue =
        |life| authority().issue(&household, &device, "read", None, Duration::from_secs(life));
    let principal = authority().verify(&issue(60).unwrap()).unwrap();
    assert_eq!(principal.scope, Scope { read: true, write: false, control: false, admin: false });
    assert_eq!((principal.household, principal.device), (household.clone(), device.clone()));
    let other = Authority::new(&Secret::new(&[b'x'; 32]).unwrap(), ISSUER, AUDIENCE);
    assert_eq!(other.verify(&issue(60).unwrap()), Err(AuthError::Signature));
    let other = Authority::new(&Secret::new(KEY).unwrap(), "another", AUDIENCE);
    assert_eq!(other.verify(&issue(60).unwrap()), Err(AuthError::Issuer));
}

#[test]
fn only_hs256_is_an_algorithm() {
    for alg in ["HS384", "HS512", "RS256", "ES256", "EdDSA"] {
        let refused = refusal(&json!({"alg": alg, "typ": "JWT"}), &claims());
        assert_eq!(refused, AuthError::Algorithm, "{alg}");
    }
    for alg in ["none", "None", "NONE", "nOnE", "hs256", ""] {
        let header = json!({"alg": alg, "typ": "JWT"});
        assert_eq!(refusal(&header, &claims()), AuthError::Malformed, "{alg}");
        let unsigned = sign(&header, &claims());
        let unsigned = unsigned.rsplit_once('.').unwrap().0;
        assert!(authority().verify(&format!("{unsigned}.")).is_err(), "{alg} without signature");
    }
    assert_eq!(refusal(&json!({"typ": "JWT"}), &claims()), AuthError::Malformed);
}

#[test]
fn a_signature_covers_header_and_claims() {
    let token = sign(&hs256(), &claims());
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let forged = base64url(with("sub", "other".into()).to_string().as_bytes());
    let refused = authority().verify(&format!("{header}.{forged}.{signature}"));
    assert_eq!(refused, Err(AuthError::Signature));
    assert_eq!(authority().verify(&format!("{header}.{body}.")), Err(AuthError::Signature));
    let cut = &signature[..signature.len() - 2];
    assert!(authority().verify(&format!("{header}.{body}.{cut}")).is_err());
}

#[test]
fn times_are_checked_with_a_small_leeway() {
    let leeway = LEEWAY.as_secs();
    let expired = |exp: Value| refusal(&hs256(), &with("exp", exp));
    assert_eq!(expired((now() - leeway - 2).into()), AuthError::Expired);
    assert_eq!(expired(Value::Null), AuthError::Claim("exp"));
    assert!(matches!(expired("tomorrow".into()), AuthError::Malformed | AuthError::Claim("exp")));
    let early = refusal(&hs256(), &with("nbf", (now() + leeway + 2).into()));
    assert_eq!(early, AuthError::NotYetValid);
    let text = refusal(&hs256(), &with("nbf", "0".into()));
    assert_eq!(text, AuthError::Claim("nbf"));
    let accepted = |claims| authority().verify(&sign(&hs256(), &claims));
    assert!(accepted(with("exp", (now() - leeway / 2).into())).is_ok());
    assert!(accepted(with("nbf", (now() + leeway / 2).into())).is_ok());
    assert!(accepted(with("nbf", Value::Null)).is_ok());
    assert!(accepted(with("exp", u64::MAX.into())).is_ok(), "far future must not overflow");
}

#[test]
fn issuer_and_audience_are_checked() {
    let refused = |name, value| refusal(&hs256(), &with(name, value));
    assert_eq!(refused("iss", "evil".into()), AuthError::Issuer);
    assert_eq!(refused("iss", Value::Null), AuthError::Claim("iss"));
    assert_eq!(refused("iss", json!([ISSUER])), AuthError::Malformed);
    assert_eq!(refused("aud", "other-service".into()), AuthError::Audience);
    assert_eq!(refused("aud", json!([])), AuthError::Audience);
    assert_eq!(refused("aud", Value::Null), AuthError::Claim("aud"));
    let several = sign(&hs256(), &with("aud", json!(["other-service", AUDIENCE])));
    assert!(authority().verify(&several).is_ok());
}

#[test]
fn household_and_device_are_required() {
    for name in ["sub", "did"] {
        for value in [Value::Null, "".into(), "x".repeat(65).into(), "a\nb".into()] {
            let refused = refusal(&hs256(), &with(name, value.clone()));
            assert_eq!(refused, AuthError::Claim(name), "{value}");
        }
        assert!(matches!(
            refusal(&hs256(), &with(name, json!(7))),
            AuthError::Malformed | AuthError::Claim(_)
        ));
    }
}

#[test]
fn foreign_types_and_critical_extensions_are_refused() {
    let header = |name: &str, value: Value| {
        let mut header = hs256();
        header[name] = value;
        sign(&header, &claims())
    };
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        assert!(authority().verify(&header("typ", typ.into())).is_ok(), "{typ}");
    }
    for typ in ["JWE", "secevent+jwt", "dpop+jwt", ""] {
        assert_eq!(authority().verify(&header("typ", typ.into())), Err(AuthError::Malformed));
    }
    assert_eq!(authority().verify(&header("crit", json!(["exp"]))), Err(AuthError::Malformed));
    // A key in the header is never used.
    let own = json!({"kty": "oct", "k": base64url(&[7; 32])});
    assert!(authority().verify(&header("jwk", own)).is_ok());
    assert!(authority().verify(&sign(&json!({"alg": "HS256"}), &claims())).is_ok());
}

#[test]
fn size_and_shape_are_checked_first() {
    let verify = |token: &str| authority().verify(token).unwrap_err();
    assert_eq!(verify(""), AuthError::Missing);
    for token in [".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "\u{1f4fa}.b.c"] {
        assert_eq!(verify(token), AuthError::Malformed, "{token}");
    }
    let filler = |bytes: usize| sign(&hs256(), &with("more", "x".repeat(bytes).into()));
    let fits = (0..TOKEN_BYTES_MAX).rev().find(|&bytes| filler(bytes).len() <= TOKEN_BYTES_MAX);
    let fits = fits.unwrap();
    assert!(authority().verify(&filler(fits)).is_ok());
    assert_eq!(verify(&filler(fits + 1)), AuthError::TooLong);
}

#[test]
fn scope_is_words() {
    let scope = |claim| authority().verify(&sign(&hs256(), &with("scope", claim))).unwrap().scope;
    assert_eq!(scope(Value::Null), Scope { read: true, write: true, control: true, admin: false });
    assert_eq!(scope("".into()), Scope { read: false, write: false, control: false, admin: false });
    let words = "readwrite write openid";
    assert_eq!(
        scope(words.into()),
        Scope { read: false, write: true, control: false, admin: false }
    );
}

#[test]
fn secrets_have_a_length_and_no_debug_text() {
    assert!(matches!(Secret::new(&[b'x'; 31]), Err(SecretError::Length(31))));
    assert!(matches!(Secret::new(&[b'x'; 4097]), Err(SecretError::Length(4097))));
    let secret = Secret::new(b"0123456789abcdef0123456789abcdef\n").unwrap();
    assert_eq!(secret.0, KEY, "a line end does not count");
    assert_eq!(format!("{secret:?}"), "Secret(..)");
}

#[test]
fn a_missing_secret_is_created_once_and_only_on_request() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/secret");
    assert!(Secret::read(&path).unwrap_err().to_string().contains("random bytes there"));
    let created = Secret::read_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Secret::read_or_create(&path).unwrap().0, created.0);
    assert_eq!(Secret::read(&path).unwrap().0, created.0);
    assert!(Secret::read_or_create(folder.path()).is_err(), "a folder is no secret");
}
