//! Answers in gzip: smaller, the same, and never those with a secret in them.

use super::exchange::Binary;
use super::*;
use crate::http::routes;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read;

/// Whose answers are packed. None may have a token, a key or a code in it, and what strangers can put
/// into one must not stand beside what they must not know.
const PACKED: [&str; 9] = [
    "GET /api/v1/admin/revocations",
    "GET /api/v1/devices",
    "GET /api/v1/household/export",
    "GET /api/v1/progress",
    "GET /api/v1/taste/contributions",
    "GET /api/v1/watchlist",
    "GET /docs",
    "GET /metrics",
    "GET /openapi.json",
];

#[test]
fn only_these_routes_are_packed() {
    let all = routes::all().into_iter().filter(|route| route.packs);
    let mut all: Vec<String> =
        all.map(|route| format!("{} {}", route.method, route.path)).collect();
    all.sort();
    assert_eq!(all, PACKED);
}

/// A household with a list of some length.
async fn filled() -> Home {
    let home = home().await;
    for number in 0..20 {
        let body = json!({"operation": "add", "content_id": format!("tmdb:{number}")});
        assert_eq!(home.rest("POST /api/v1/sync/watchlist", body).await.status, 200);
    }
    home
}

fn header<'a>(answer: &'a Binary, name: &str) -> Vec<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

fn unpacked(answer: &Binary) -> String {
    let mut text = String::new();
    GzDecoder::new(&*answer.binary).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_packed_for_who_takes_it_and_is_the_same() {
    let home = filled().await;
    let bearer = format!("authorization: Bearer {}\r\n", token("home", "read"));
    let ask = async |more: &str| {
        home.binary("GET /api/v1/watchlist", &format!("{bearer}{more}"), b"").await
    };
    let plain = ask("").await;
    assert!(header(&plain, "content-encoding").is_empty());
    let packed = ask("accept-encoding: br, gzip\r\n").await;
    assert_eq!((packed.status, header(&packed, "content-encoding")), (200, vec!["gzip"]));
    assert_eq!(header(&packed, "content-length"), [packed.binary.len().to_string()]);
    assert!(packed.binary.len() * 4 < plain.binary.len(), "{}", packed.binary.len());
    assert_eq!(unpacked(&packed).as_bytes(), plain.binary);
    assert_eq!(header(&packed, "content-type"), ["application/json"]);
    // One tag for both, which says that they mean the same and not that they are the same bytes.
    let tag = header(&plain, "etag")[0];
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(header(&packed, "etag"), [tag]);
    for how in ["", "accept-encoding: gzip\r\n"] {
        let known = ask(&format!("{how}if-none-match: {tag}\r\n")).await;
        assert_eq!((known.status, header(&known, "etag")), (304, vec![tag]));
        assert!(header(&known, "content-encoding").is_empty() && known.binary.is_empty());
        assert!(header(&known, "vary").contains(&"accept-encoding"), "{}", known.head);
    }
    for answer in [&plain, &packed] {
        assert!(header(answer, "vary").contains(&"accept-encoding"), "{}", answer.head);
    }
    let (before, after) =
        (home.figure("omega_gzip_plain_bytes_total").await, home.figure("omega_gzip_bytes_total"));
    assert_eq!((before, after.await), (plain.binary.len() as u64, packed.binary.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_secret_or_is_an_error_is_not_packed() {
    let home = filled().await;
    let all = "accept-encoding: gzip\r\n";
    let bearer = format!("authorization: Bearer {}\r\n{all}", token("operator", "admin"));
    let json = format!("{bearer}content-type: application/json\r\n");
    let form = format!("{all}content-type: application/x-www-form-urlencoded\r\n");
    for (line, headers, body) in [
        ("POST /api/v1/admin/pairing-keys", &json, &br#"{"household": "home"}"#[..]),
        ("POST /oauth/device_authorization", &form, b"client_id=a"),
        ("POST /oauth/token", &form, b"grant_type=refresh_token&refresh_token=x"),
        ("GET /pair", &all.to_owned(), b""),
        ("GET /dev/token?household=home&device=tv", &all.to_owned(), b""),
        ("GET /api/v1/watchlist", &bearer, b""),
        ("GET /api/v1/nothing", &bearer, b""),
    ] {
        let answer = home.binary(line, headers, body).await;
        assert!(header(&answer, "content-encoding").is_empty(), "{line}: {}", answer.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_same_for_everybody_is_packed() {
    let home = home().await;
    for path in ["/openapi.json", "/docs", "/metrics"] {
        let line = format!("GET {path}");
        let plain = home.binary(&line, "", b"").await;
        let packed = home.binary(&line, "accept-encoding: gzip\r\n", b"").await;
        assert_eq!(header(&packed, "content-encoding"), ["gzip"], "{path}");
        assert!(packed.binary.len() * 4 < plain.binary.len(), "{path}");
        if path != "/metrics" {
            assert_eq!(unpacked(&packed).as_bytes(), plain.binary, "{path}");
        }
    }
    let text: Value = home.ask("GET /openapi.json", &[], "").await.json();
    assert_eq!(text["openapi"], "3.1.0");
}
