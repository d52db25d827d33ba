//! Tokens of an identity provider: which are taken, which never, and how its keys come and go. The
//! provider is a small server of the test's own, over HTTP and TLS.

mod keys;

use self::keys::{PROVIDER, Signer, attacks, claims};
use super::*;
use crate::auth::jwks::{JWKS_BYTES_MAX, Patience};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

const LINE: &str = "GET /api/v1/watchlist";
/// Nothing is read anew unless a token asks for it.
const WHEN_ASKED: Patience =
    Patience { every: Duration::from_secs(3600), retry: Duration::ZERO, stale: DEADLINE };

/// The provider's answer, and how often it was asked.
struct Desk {
    status: StatusCode,
    body: String,
    location: &'static str,
    asked: usize,
    patient: bool,
}

/// An identity provider.
struct Provider {
    address: std::net::SocketAddr,
    desk: Arc<Mutex<Desk>>,
    _stop: watch::Sender<bool>,
}

impl Provider {
    async fn start(signers: &[&Signer]) -> Self {
        Self::start_with(signers, None).await
    }

    async fn start_with(signers: &[&Signer], tls: crate::listen::Tls) -> Self {
        let desk = Desk {
            status: StatusCode::OK,
            body: set(signers).to_string(),
            location: "",
            asked: 0,
            patient: false,
        };
        let desk = Arc::new(Mutex::new(desk));
        let router = Router::new().fallback(answer).with_state(desk.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let gate = crate::address::Gate::new(0, crate::address::Proxies::default(), false);
        let patience = crate::limits::WRITE_TIMEOUT;
        tokio::spawn(crate::listen::run(listener, gate, router, tls, patience, stopping));
        Self { address, desk, _stop: stop }
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    fn publish(&self, signers: &[&Signer]) {
        self.desk().body = set(signers).to_string();
    }

    fn url(&self) -> String {
        format!("http://{}/keys?version=1", self.address)
    }
}

async fn answer(State(desk): State<Arc<Mutex<Desk>>>) -> impl IntoResponse {
    let (answer, patient) = {
        let mut desk = desk.lock().unwrap();
        desk.asked += 1;
        let location = [("location", desk.location)];
        ((desk.status, location, desk.body.clone()), desk.patient)
    };
    if patient {
        sleep(DEADLINE).await;
    }
    answer
}

fn set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

/// A server that takes the tokens of a provider whose keys are there.
async fn home_of(jwks: String, patience: Patience, more: impl FnOnce(&mut ServeArgs)) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path());
    args.access.jwks = Some(jwks);
    args.access.jwks_issuer = Some(PROVIDER.into());
    more(&mut args);
    let limits = Limits { jwks: Some(patience), ..limits() };
    let server = Server::start(&args, limits).await.unwrap();
    Home { folder, server }
}

impl Home {
    async fn health(&self) -> Value {
        let (head, body) = self.get("/health").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        serde_json::from_str(&body).unwrap()
    }

    async fn with(&self, token: &str) -> u16 {
        let bearer = format!("Bearer {token}");
        self.ask(LINE, &[("authorization", &bearer)], "").await.status
    }

    /// Asks until the answer is this one.
    async fn until(&self, token: &str, status: u16) {
        let asked = async {
            while self.with(token).await != status {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("never {status}"));
    }
}

fn trio() -> [Signer; 3] {
    [Signer::rsa("rsa"), Signer::p256("p256"), Signer::ed25519("ed25519")]
}

/// A folder with a file of keys.
fn file(folder: &TempDir, set: &Value) -> PathBuf {
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set.to_string()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_key_signs_beside_the_secret() {
    let signers = trio();
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &set(&signers.each_ref()));
    let home = home_of(path.display().to_string(), WHEN_ASKED, |_| ()).await;
    for signer in &signers {
        assert_eq!(home.with(&signer.token()).await, 200, "{}", signer.alg);
        let audiences = json!({
            "iss": PROVIDER, "aud": ["other", AUDIENCE], "sub": "home", "did": "tv",
            "exp": claims()["exp"],
        });
        // Without a type, and without a name: it is the only key of its algorithm.
        let header = json!({"alg": signer.alg}).to_string();
        assert_eq!(home.with(&signer.sign(&header, &audiences)).await, 200, "{}", signer.alg);
    }
    assert_eq!(home.with(&token("home", "read")).await, 200, "our own");
    // A socket's token, and one inside a hello.
    let mut socket = home.connect().await;
    socket.send(hello(1, &signers[1].token()).encode()).await;
    socket.welcome().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_only_the_provider_signs() {
    let signer = Signer::p256("a");
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &set(&[&signer]));
    let without = |args: &mut ServeArgs| args.jwt_secret_file = None;
    let home = home_of(path.display().to_string(), WHEN_ASKED, without).await;
    assert_eq!(home.with(&signer.token()).await, 200);
    assert_eq!(home.with(&token("home", "read")).await, 401);
    let answer = home.get("/dev/token?household=home&device=tv").await.0;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_takes_a_forged_token() {
    let signers = trio();
    let bait = Provider::start(&[]).await;
    let provider = Provider::start(&signers.each_ref()).await;
    let patience = Patience { retry: Duration::from_secs(3600), ..WHEN_ASKED };
    let home = home_of(provider.url(), patience, |_| ()).await;
    let all = attacks(&signers.each_ref(), SECRET, &bait.url());
    assert!(all.len() > 200, "{}", all.len());
    for (name, token) in &all {
        assert_eq!(home.with(token).await, 401, "{name}: {token}");
    }
    // A part of them on every route.
    let some: Vec<_> = all.into_iter().step_by(23).collect();
    matrix::refuses(&home, &some).await;
    assert_eq!(bait.desk().asked, 0, "nobody follows an address in a token");
    assert_eq!(provider.desk().asked, 1, "tokens with unknown keys can't make us ask");
    for signer in &signers {
        assert_eq!(home.with(&signer.token()).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirrored_signature_is_the_same_token() {
    let signer = Signer::p256("a");
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &set(&[&signer]));
    let home = home_of(path.display().to_string(), WHEN_ASKED, |_| ()).await;
    let (one, other) = signer.mirrored();
    assert_ne!(one, other);
    // Half of all issuers' signatures are the larger of the two, so neither can be refused.
    assert_eq!((home.with(&one).await, home.with(&other).await), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_for_signatures_are_none() {
    let [rsa, p256, ed25519] = trio();
    let changed = |signer: &Signer, name: &str, value: Value| {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        jwk
    };
    let good = Signer::ed25519("good");
    let secret = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0"});
    let folder = tempfile::tempdir().unwrap();
    let keys = json!({"keys": [
        changed(&rsa, "alg", "PS256".into()), changed(&p256, "use", "enc".into()),
        changed(&ed25519, "key_ops", json!(["sign"])), secret, good.jwk(), 7, {"kty": "EC"},
        {"kty": "RSA", "kid": "small", "e": "AQAB", "n": "x".repeat(170)},
        {"kty": "EC", "crv": "P-256", "kid": "short", "x": "AA", "y": "AA"},
    ]});
    let path = file(&folder, &keys);
    let home = home_of(path.display().to_string(), WHEN_ASKED, |_| ()).await;
    for signer in [&rsa, &p256, &ed25519] {
        assert_eq!(home.with(&signer.token()).await, 401, "{}", signer.alg);
    }
    assert_eq!(home.with(&good.token()).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_listed_algorithms_count() {
    let [rsa, p256, _] = trio();
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &set(&[&rsa, &p256]));
    let only = |args: &mut ServeArgs| {
        let serve = ["omega-edge", "serve", "--data", "d", "--jwks", "k"];
        let cli = crate::config::Cli::read(serve.into_iter().chain(["--jwks-algorithms", "ES256"]));
        let crate::config::Command::Serve(read) = cli.unwrap().unwrap().command else { panic!() };
        args.access.jwks_algorithms = read.access.jwks_algorithms;
    };
    let home = home_of(path.display().to_string(), WHEN_ASKED, only).await;
    assert_eq!(home.with(&p256.token()).await, 200);
    assert_eq!(home.with(&rsa.token()).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_counts_at_once_and_an_old_one_no_more() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let provider = Provider::start(&[&old]).await;
    let home = home_of(provider.url(), WHEN_ASKED, |_| ()).await;
    assert_eq!(home.with(&old.token()).await, 200);
    provider.publish(&[&old, &new]);
    assert_eq!(home.with(&new.token()).await, 200, "asked for because it was not known");
    assert_eq!(home.with(&old.token()).await, 200);
    assert_eq!(provider.desk().asked, 2);
    provider.publish(&[&new]);
    assert_eq!(home.with(&Signer::p256("nobody").token()).await, 401);
    assert_eq!(home.with(&old.token()).await, 401, "withdrawn");
    assert_eq!(home.with(&new.token()).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_anew_from_time_to_time() {
    let (old, new) = (Signer::ed25519("key"), Signer::ed25519("key"));
    let often = Patience { every: Duration::from_millis(20), ..WHEN_ASKED };
    let provider = Provider::start(&[&old]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &set(&[&old]));
    for jwks in [provider.url(), path.display().to_string()] {
        provider.publish(&[&old]);
        file(&folder, &set(&[&old]));
        let home = home_of(jwks, often, |_| ()).await;
        assert_eq!(home.with(&old.token()).await, 200);
        provider.publish(&[&new]);
        file(&folder, &set(&[&new]));
        home.until(&new.token(), 200).await;
        assert_eq!(home.with(&old.token()).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_a_provider_that_fails_but_not_for_good() {
    let (signer, other) = (Signer::ed25519("a"), Signer::ed25519("b"));
    let provider = Provider::start(&[&signer]).await;
    let home = home_of(provider.url(), WHEN_ASKED, |_| ()).await;
    let failures: [(StatusCode, String); 6] = [
        (StatusCode::INTERNAL_SERVER_ERROR, set(&[&other]).to_string()),
        (StatusCode::FOUND, set(&[&other]).to_string()),
        (StatusCode::OK, "no JSON".into()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, json!({"keys": [other.jwk(), other.jwk()]}).to_string()),
        (StatusCode::OK, format!("{}{}", set(&[&other]), " ".repeat(JWKS_BYTES_MAX))),
    ];
    for (status, body) in failures {
        let what = body.chars().take(40).collect::<String>();
        *provider.desk() = Desk { status, body, location: "/elsewhere", asked: 0, patient: false };
        assert_eq!(home.with(&other.token()).await, 401, "{status} {what}");
        assert_eq!(provider.desk().asked, 1, "{status} {what}");
        assert_eq!(home.with(&signer.token()).await, 200, "{status} {what}");
        let health = home.health().await;
        let keys = &health["checks"]["keys"];
        assert_eq!((&keys["status"], &keys["count"]), (&json!("failing"), &json!(1)), "{health}");
        assert!(!keys["last_failure"]["reason"].as_str().unwrap().is_empty(), "{health}");
        assert_eq!(health["ready"], true, "other servers could not ask it either");
    }
    let short = Patience {
        every: Duration::from_millis(20),
        // On a busy machine they may not be read anew for a while.
        stale: Duration::from_secs(1),
        ..WHEN_ASKED
    };
    provider.desk().status = StatusCode::OK;
    provider.publish(&[&signer]);
    let home = home_of(provider.url(), short, |_| ()).await;
    home.until(&signer.token(), 200).await;
    provider.desk().status = StatusCode::BAD_GATEWAY;
    home.until(&signer.token(), 401).await;
    let health = home.health().await;
    let keys = &health["checks"]["keys"];
    assert_eq!((&keys["status"], &keys["age_seconds"]), (&json!("missing"), &Value::Null));
    assert_eq!(health["status"], "ok");
    provider.desk().status = StatusCode::OK;
    home.until(&signer.token(), 200).await;
    let health = home.health().await;
    let keys = &health["checks"]["keys"];
    assert_eq!((&keys["status"], &keys["age_seconds"]), (&json!("ok"), &json!(0)));
    assert!(keys["last_failure"]["reason"].as_str().unwrap().contains("502"), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_or_slow_stops_nobody() {
    let signer = Signer::p256("a");
    let provider = Provider::start(&[&signer]).await;
    provider.desk().patient = true;
    let home = home_of(provider.url(), WHEN_ASKED, |_| ()).await;
    assert_eq!(home.with(&token("home", "read")).await, 200, "our own do not wait");
    let keys = home.health().await["checks"]["keys"].clone();
    assert_eq!((&keys["status"], &keys["count"]), (&json!("missing"), &json!(0)), "{keys}");
    provider.desk().patient = false;
    assert_eq!(home.with(&signer.token()).await, 200, "as soon as it answers");
}

/// A certificate for this machine, as PEM files, with its authority.
fn certificate(folder: &TempDir) -> (crate::tls::Files, PathBuf) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let path = |name: &str| folder.path().join(name);
    let files = crate::tls::Files { certificate: path("cert.pem"), key: path("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let authority = files.certificate.clone();
    (files, authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_over_tls_from_whom_the_authorities_vouch_for() {
    let signer = Signer::rsa("a");
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (files, authority) = certificate(&folder);
    let tls = crate::tls::ServerTls::open(files).unwrap();
    let provider = Provider::start_with(&[&signer], Some(Arc::new(tls))).await;
    let url = format!("https://127.0.0.1:{}/keys", provider.address.port());
    let trusting = |args: &mut ServeArgs| args.access.jwks_ca = Some(authority);
    let home = home_of(url.clone(), WHEN_ASKED, trusting).await;
    assert_eq!(home.with(&signer.token()).await, 200);
    let doubting = |args: &mut ServeArgs| args.access.jwks_ca = Some(certificate(&other).1);
    let home = home_of(url, WHEN_ASKED, doubting).await;
    assert_eq!(home.with(&signer.token()).await, 401);
    assert_eq!(provider.desk().asked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_keys_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let many: Vec<Value> = (0..65).map(|_| json!({"kty": "RSA"})).collect();
    let bad = [
        ("not.json", "{".to_owned(), "no JWK set"),
        ("none.json", set(&[]).to_string(), "no key for RS256, ES256, EdDSA"),
        ("many.json", json!({"keys": many}).to_string(), "65 keys"),
        ("large.json", " ".repeat(JWKS_BYTES_MAX + 1), "more than 262144 bytes"),
    ];
    let start = async |jwks: String| {
        let mut args = args(folder.path());
        args.access.jwks = Some(jwks);
        match Server::start(&args, limits()).await {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    };
    for (name, text, reason) in bad {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = start(path.display().to_string()).await;
        assert!(error.contains(reason), "{error}");
    }
    assert!(start("/no/such/file".into()).await.contains("can't read /no/such/file"));
    for url in ["http://id.example/keys", "https://user@id.example/", "http://[::2]/", "https://"] {
        let error = start(url.into()).await;
        assert!(error.contains("https address"), "{url}: {error}");
    }
}
