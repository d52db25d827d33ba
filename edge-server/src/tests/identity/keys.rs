//! An identity provider's private keys, and tokens made with them, good and forged.

use crate::auth::tests::{base64url, with};
use crate::auth::{AUDIENCE, LEEWAY};
use omega_sync_core::message::TOKEN_BYTES_MAX;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// Who issues these tokens.
pub(super) const PROVIDER: &str = "https://id.example";
/// Made for these tests, and used by nothing else.
const RSA: &[u8] = include_bytes!("../rsa-2048.pem");
/// The order of P-256 (SEC 2, section 2.4.2).
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// The order of Ed25519's group (RFC 8032, section 5.1), the last byte first.
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

pub(super) enum Private {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key with its name.
pub(super) struct Signer {
    pub(super) kid: &'static str,
    pub(super) alg: &'static str,
    private: Private,
}

impl Signer {
    pub(super) fn rsa(kid: &'static str) -> Self {
        let key = PrivatePkcs8KeyDer::from_pem_slice(RSA).unwrap();
        let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        Self { kid, alg: "RS256", private: Private::Rsa(Box::new(key)) }
    }

    pub(super) fn p256(kid: &'static str) -> Self {
        let (random, form) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(form, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(form, key.as_ref(), &random).unwrap();
        Self { kid, alg: "ES256", private: Private::P256(key) }
    }

    pub(super) fn ed25519(kid: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        Self { kid, alg: "EdDSA", private: Private::Ed25519(key) }
    }

    /// The public half, as a provider publishes it.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.private {
            Private::Rsa(key) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": base64url(&parts.n), "e": base64url(&parts.e)})
            }
            Private::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Private::Ed25519(key) => {
                let x = base64url(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
        };
        jwk["kid"] = self.kid.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Private::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn header(&self) -> Value {
        json!({"alg": self.alg, "typ": "at+jwt", "kid": self.kid})
    }

    /// A good token.
    pub(super) fn token(&self) -> String {
        self.sign(&self.header().to_string(), &claims())
    }

    /// Signs any header and claims, as an attacker could who has a key.
    pub(super) fn sign(&self, header: &str, claims: &Value) -> String {
        let body = body(header, claims);
        format!("{body}.{}", base64url(&self.signature(body.as_bytes())))
    }

    /// A good token whose signature is something else.
    fn resigned(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
        let body = body(&self.header().to_string(), &claims());
        format!("{body}.{}", base64url(&change(self.signature(body.as_bytes()))))
    }

    /// The same token with the other signature that ECDSA has for it: s becomes n - s.
    pub(super) fn mirrored(&self) -> (String, String) {
        let body = body(&self.header().to_string(), &claims());
        let signature = self.signature(body.as_bytes());
        let mirror = [&signature[..32], &subtract(&hex(P256_ORDER), &signature[32..])].concat();
        let token = |signature: &[u8]| format!("{body}.{}", base64url(signature));
        (token(&signature), token(&mirror))
    }
}

fn body(header: &str, claims: &Value) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.to_string().as_bytes()))
}

/// The claims of a good token.
pub(super) fn claims() -> Value {
    let mut claims = with("iss", PROVIDER.into());
    claims["scope"] = "read write control admin".into();
    claims
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
    digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
}

/// a - b of two numbers of equal length, the highest byte first.
fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let value = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(value < 0);
            value.rem_euclid(256) as u8
        })
        .collect();
    difference.reverse();
    difference
}

/// a + b of two numbers of equal length, the lowest byte first.
fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            let value = u16::from(*a) + u16::from(*b) + carry;
            carry = value >> 8;
            value as u8
        })
        .collect()
}

/// Every kind of token that no route may take where these signers' public keys are known: what RFC
/// 8725 warns of. `own` is the secret that the server signs with itself, `bait` an address at which
/// nobody may call.
pub(super) fn attacks(signers: &[&Signer], own: &[u8], bait: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for signer in signers {
        let mut add = |name: &str, token: String| {
            all.push((format!("{} {name}", signer.alg), token));
        };
        by_headers(signer, bait, &mut add);
        by_claims(signer, &mut add);
        by_signatures(signer, &mut add);
        by_confusion(signer, signers, own, &mut add);
    }
    all
}

fn by_headers(signer: &Signer, bait: &str, add: &mut dyn FnMut(&str, String)) {
    let with = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.sign(&header.to_string(), &claims())
    };
    let kids = [
        ("a path", "../../../../dev/null"),
        ("an absolute path", "/dev/null"),
        ("SQL", "x' OR '1'='1"),
        ("a command", "key|/usr/bin/id"),
        ("unknown", "nobody"),
        ("empty", ""),
        ("a zero byte", "rsa\0"),
        ("another case", "RSA"),
        ("an address", bait),
    ];
    for (name, kid) in kids {
        add(&format!("kid is {name}"), with("kid", kid.into()));
    }
    add("kid is huge", with("kid", "k".repeat(300).into()));
    for (name, kid) in [("a number", json!(7)), ("a list", json!([signer.kid]))] {
        add(&format!("kid is {name}"), with("kid", kid));
    }
    add("critical extension", with("crit", json!(["exp"])));
    add("empty critical list", with("crit", json!([])));
    let unencoded = json!({"alg": signer.alg, "kid": signer.kid, "b64": false, "crit": ["b64"]});
    add("unencoded payload", signer.sign(&unencoded.to_string(), &claims()));
    for typ in ["JWE", "secevent+jwt", "logout+jwt", "dpop+jwt"] {
        add(&format!("typ {typ}"), with("typ", typ.into()));
    }
    for alg in ["none", "None", "", "RS384", "RS512", "PS256", "ES384", "ES512", "Ed25519", "HS512"]
    {
        add(&format!("alg {alg}"), with("alg", alg.into()));
    }
    let (alg, kid) = (signer.alg, signer.kid);
    let twice = format!(r#"{{"alg":"none","alg":"{alg}","kid":"{kid}"}}"#);
    add("alg twice", signer.sign(&twice, &claims()));
    let twice = format!(r#"{{"alg":"{alg}","kid":"nobody","kid":"{kid}"}}"#);
    add("kid twice", signer.sign(&twice, &claims()));
    // The key of an attacker, offered in every way there is.
    let mallory = match signer.alg {
        "ES256" => Signer::p256(signer.kid),
        _ => Signer::ed25519(signer.kid),
    };
    let offers = [
        ("jwk", mallory.jwk()),
        ("jku", bait.into()),
        ("x5u", bait.into()),
        ("x5c", json!([base64url(b"certificate")])),
        ("x5t", "dGh1bWI".into()),
    ];
    for (name, value) in offers {
        for kid in [signer.kid, "nobody"] {
            let mut header = json!({"alg": mallory.alg, "typ": "JWT", "kid": kid});
            header[name] = value.clone();
            add(&format!("{name} with kid {kid}"), mallory.sign(&header.to_string(), &claims()));
        }
        let mut header = json!({"alg": mallory.alg});
        header[name] = value.clone();
        add(&format!("{name} without kid"), mallory.sign(&header.to_string(), &claims()));
    }
}

fn by_claims(signer: &Signer, add: &mut dyn FnMut(&str, String)) {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signer.sign(&signer.header().to_string(), &claims)
    };
    let now = jsonwebtoken::get_current_timestamp();
    add("expired", with("exp", (now - LEEWAY.as_secs() - 2).into()));
    add("without end", with("exp", Value::Null));
    add("end as text", with("exp", (now + 60).to_string().into()));
    add("not yet", with("nbf", (now + 3600).into()));
    add("another issuer", with("iss", "https://evil.example".into()));
    add("the server's own issuer", with("iss", crate::auth::ISSUER.into()));
    add("issuer as a list", with("iss", json!([PROVIDER])));
    add("without issuer", with("iss", Value::Null));
    add("another audience", with("aud", "other-service".into()));
    add("audience in another case", with("aud", AUDIENCE.to_uppercase().into()));
    add("other audiences", with("aud", json!(["a", "b"])));
    add("without audience", with("aud", Value::Null));
    add("without household", with("sub", Value::Null));
    add("a household that is none", with("sub", "x".repeat(65).into()));
    add("without device", with("did", Value::Null));
    add("oversized", with("more", "x".repeat(TOKEN_BYTES_MAX).into()));
}

fn by_signatures(signer: &Signer, add: &mut dyn FnMut(&str, String)) {
    let good = signer.token();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let [header, claims] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("two parts") };
    add("no signature", format!("{signed}."));
    add("two parts", signed.to_owned());
    add("four parts", format!("{good}."));
    add("padding", format!("{good}=="));
    add("white space", format!("{header}. {claims}.{signature}"));
    // The last digit of 64 bytes (and of 256) has four bits that mean nothing.
    let last = signature.chars().last().unwrap();
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = DIGITS.find(last).unwrap() | 1;
    let other = DIGITS.as_bytes()[digit] as char;
    let loose = format!("{signed}.{}{other}", &signature[..signature.len() - 1]);
    add("loose bits at the end", loose);
    let forged = super::keys::claims().to_string().replace("\"home\"", "\"other\"");
    add("other claims", format!("{header}.{}.{signature}", base64url(forged.as_bytes())));
    add("cut", signer.resigned(|s| s[..s.len() - 1].to_vec()));
    add("longer", signer.resigned(|s| [&s[..], &[0]].concat()));
    add("a zero byte before", signer.resigned(|s| [&[0][..], &s].concat()));
    add("all zero", signer.resigned(|s| vec![0; s.len()]));
    add("all ones", signer.resigned(|s| vec![0xff; s.len()]));
    if signer.alg == "ES256" {
        let order = hex(P256_ORDER);
        let one = [&[0; 31][..], &[1]].concat();
        add("r is zero", signer.resigned(|s| [&[0; 32], &s[32..]].concat()));
        add("s is zero", signer.resigned(|s| [&s[..32], &[0; 32]].concat()));
        add("r is the order", signer.resigned(|s| [&order, &s[32..]].concat()));
        add("s is the order", signer.resigned(|s| [&s[..32], &order].concat()));
        add("r and s are one", signer.resigned(|_| [&one[..], &one].concat()));
        add(
            "as DER",
            signer.resigned(|s| {
                let number = |part: &[u8]| [&[2, 33, 0][..], part].concat();
                let numbers = [number(&s[..32]), number(&s[32..])].concat();
                [&[0x30, numbers.len() as u8][..], &numbers].concat()
            }),
        );
        add("r and s changed places", signer.resigned(|s| [&s[32..], &s[..32]].concat()));
    }
    if signer.alg == "EdDSA" {
        let order = hex(ED25519_ORDER);
        add(
            "s plus the order",
            signer.resigned(|s| [&s[..32], &super::keys::add(&s[32..], &order)].concat()),
        );
    }
}

fn by_confusion(
    signer: &Signer,
    signers: &[&Signer],
    own: &[u8],
    add: &mut dyn FnMut(&str, String),
) {
    use hmac::{Hmac, Mac};
    let hmac = |key: &[u8], header: Value, claims: &Value| {
        let body = body(&header.to_string(), claims);
        let mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap().chain_update(&body);
        format!("{body}.{}", base64url(&mac.finalize().into_bytes()))
    };
    let hs256 = json!({"alg": "HS256", "typ": "JWT", "kid": signer.kid});
    let mut ours = claims();
    ours["iss"] = crate::auth::ISSUER.into();
    // What everybody can read, used as a secret, in the forms that libraries keep it in.
    let jwk = signer.jwk();
    let part = jwk.get("n").or(jwk.get("x")).unwrap().as_str().unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{part}\n-----END PUBLIC KEY-----\n");
    for (name, secret) in [
        ("its JWK", jwk.to_string().into_bytes()),
        ("a part of it", part.as_bytes().to_vec()),
        ("its PEM", pem.into_bytes()),
        ("nothing", Vec::new()),
    ] {
        for (issuer, claims) in [("ours", &ours), ("the provider", &claims())] {
            let token = hmac(&secret, hs256.clone(), claims);
            add(&format!("HS256 by {name}, from {issuer}"), token);
        }
    }
    add("HS256 by our secret, from the provider", hmac(own, hs256, &claims()));
    let header = signer.header();
    add("MAC by our secret", hmac(own, header.clone(), &claims()));
    // A key of one algorithm under the name of another.
    for other in signers.iter().filter(|other| other.alg != signer.alg) {
        let borrowed = json!({"alg": signer.alg, "typ": "JWT", "kid": other.kid});
        add(&format!("kid of {}", other.alg), signer.sign(&borrowed.to_string(), &claims()));
        let renamed = json!({"alg": other.alg, "typ": "JWT", "kid": signer.kid});
        add(&format!("alg of {}", other.alg), signer.sign(&renamed.to_string(), &claims()));
        let both = json!({"alg": other.alg, "typ": "JWT", "kid": other.kid});
        add(&format!("as if by {}", other.alg), signer.sign(&both.to_string(), &claims()));
    }
    if signer.alg != "RS256" {
        let impostor = match signer.alg {
            "ES256" => Signer::p256(signer.kid),
            _ => Signer::ed25519(signer.kid),
        };
        add("another key of its name", impostor.token());
    }
}
