//! Health, development tokens, static files, and errors over HTTP.

use super::*;
use crate::error::{Kind, ProcessError};
use crate::limits::{HEADERS_BYTES_MAX, JSON_BYTES_MAX, REQUEST_ID_BYTES_MAX};
use crate::store::OpenError;

#[tokio::test(flavor = "multi_thread")]
async fn health_says_status_version_and_checks() {
    let home = home().await;
    for path in ["/health", "/api/v1/health"] {
        let (head, body) = home.get(path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let checks = serde_json::json!({"store": "ok", "sockets": "ok"});
        let expected = serde_json::json!({
            "status": "ok", "version": version, "ready": true, "checks": checks,
        });
        assert_eq!(body, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_store_fails_lives_but_is_not_ready() {
    let home = home().await;
    let mut socket = home.join(1).await;
    let intruder = home.intruder();
    intruder.hold();
    socket.add(1, "tmdb:550").await;
    socket.close().await;
    for (probe, status) in [("", 503), ("?probe=ready", 503), ("?probe=live", 200)] {
        let answer = home.ask(&format!("GET /health{probe}"), &[], "").await;
        assert_eq!(answer.status, status, "{probe}");
        let health = answer.json();
        assert_eq!((&health["status"], &health["ready"]), (&"unavailable".into(), &false.into()));
        assert_eq!(health["checks"]["store"], "storage_unavailable");
    }
    let answer = home.ask("GET /health?probe=dead", &[], "").await;
    assert_eq!(answer.fields(), ["probe"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_in_the_metrics() {
    let home = home().await;
    let mut socket = home.join(1).await;
    socket.add(1, "tmdb:550").await;
    socket.frame().await;
    home.get("/nothing/at-all").await;
    home.ask("GET /api/v1/watchlist", &[], "").await;
    let mut slow = home.connect().await;
    slow.socket.send(Message::Text("{}".into())).await.unwrap();
    slow.close().await;
    let (head, text) = home.get("/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "omega_rooms 1",
        "omega_commits_total 2",
        "omega_commit_seconds_count 2",
        "omega_frames_received_total 1",
        "omega_answer_seconds_count 1",
        "omega_closes_total{code=\"malformed\"} 1",
        "omega_problems_total{code=\"not_found\"} 1",
        "omega_problems_total{code=\"unauthorized\"} 1",
        "omega_requests_total{method=\"GET\",route=\"(file)\",status=\"404\"} 1",
        "omega_requests_total{method=\"GET\",route=\"/api/v1/watchlist\",status=\"401\"} 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "no {line} in:\n{text}");
    }
    assert!(!text.contains("at-all") && !text.contains("tmdb"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served_and_its_page_runs_nothing() {
    let home = home().await;
    let document = home.ask("GET /openapi.json", &[], "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v1/sync/progress"]["post"].is_object());
    let page = home.ask("GET /docs", &[], "").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problem_documents() {
    let home = home().await;
    for (line, status, code) in [
        ("GET /nothing", 404, "not_found"),
        ("POST /nothing", 404, "not_found"),
        ("GET /ws", 426, "upgrade_required"),
        ("DELETE /health", 405, "method_not_allowed"),
        ("POST /api/v1/watchlist", 405, "method_not_allowed"),
        ("GET /dev/token", 422, "invalid"),
        ("GET /dev/token?household=h", 422, "invalid"),
        ("GET /dev/token?household=h&device=%0a", 422, "invalid"),
        ("GET /dev/token?household=h&device=tv&device=tv", 422, "invalid"),
        ("GET /api/v1/watchlist", 401, "unauthorized"),
    ] {
        let answer = home.ask(line, &[], "").await;
        assert_eq!((answer.status, answer.problem()), (status, code.into()), "{line}");
    }
    let refused = home.ask("POST /api/v1/watchlist", &[], "").await;
    assert_eq!(refused.header("allow"), Some("GET,HEAD"));
    let other = [("Sec-WebSocket-Protocol", "omega.v9")];
    match home.connect_with(&other).await.err().unwrap() {
        Error::Http(response) => assert_eq!(response.status(), 426),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_error_has_its_place() {
    let document = include_str!("../../../docs/http.md");
    for kind in Kind::ALL {
        let row = format!("| {} | `{}` | {} |", kind.status(), kind.code(), kind.meaning());
        assert!(document.contains(&row), "docs/http.md has no row {row}");
        let same = |other: &&Kind| other.code() == kind.code();
        assert_eq!(Kind::ALL.iter().filter(same).count(), 1, "{}", kind.code());
    }
    for code in CloseCode::ALL {
        assert!(Kind::from(*code).status() >= 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_an_id() {
    let home = home().await;
    let given = [("x-request-id", "from.the-client_1")];
    let answer = home.ask("GET /health", &given, "").await;
    assert_eq!(answer.header("x-request-id"), Some("from.the-client_1"));
    let long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
    for bad in ["", "two words", "semi;colon", "\u{fc}", &long] {
        let answer = home.ask("GET /nothing", &[("x-request-id", bad)], "").await;
        let id = answer.header("x-request-id").unwrap();
        assert!(id != bad && id.len() == 16, "{bad}: {id}");
        assert_eq!(answer.problem(), "not_found");
    }
    let edge = &long[1..];
    let answer = home.ask("GET /health", &[("x-request-id", edge)], "").await;
    assert_eq!(answer.header("x-request-id"), Some(edge));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_headers_have_limits() {
    let home = home().await;
    let bearer = format!("Bearer {}", token("home", "read write"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let path = "POST /api/v1/sync/watchlist";
    let sized = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    let answer = home.ask(path, &headers, &sized(JSON_BYTES_MAX)).await;
    assert_eq!((answer.status, answer.problem()), (422, "invalid".into()), "read to its end");
    let answer = home.ask(path, &headers, &sized(JSON_BYTES_MAX + 1)).await;
    assert_eq!((answer.status, answer.problem()), (413, "too_large".into()));
    let chunked = [headers[0], headers[1], ("transfer-encoding", "chunked")];
    let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", JSON_BYTES_MAX + 1, sized(JSON_BYTES_MAX + 1));
    let request = chunked.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let request = request.collect::<String>();
    let close = "host: localhost\r\nconnection: close\r\n";
    let (head, _) = home.http(&format!("{path} HTTP/1.1\r\n{close}{request}\r\n{chunks}")).await;
    assert!(head.starts_with("HTTP/1.1 413"), "without saying its length: {head}");

    // Nothing of these bodies comes: their heads are enough.
    for (header, status) in [
        (format!("content-length: {}", JSON_BYTES_MAX + 1), 413),
        ("content-length: 1073741824".into(), 413),
        ("content-length: 9\r\ncontent-encoding: zstd".into(), 415),
        ("content-length: 9\r\ncontent-encoding: gzip".into(), 415),
    ] {
        let own = format!("authorization: {bearer}\r\ncontent-type: application/json\r\n");
        let request = format!("{path} HTTP/1.1\r\n{close}{own}{header}\r\n\r\n");
        let (head, _) = home.http(&request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{header}: {head}");
    }

    let line = format!("x-filler: {}\r\n", "x".repeat(1_000));
    let many = line.repeat(HEADERS_BYTES_MAX / line.len() + 1);
    let request = format!("GET /health HTTP/1.1\r\n{many}\r\n");
    let mut stream = TcpStream::connect(home.server.address()).await.unwrap();
    // The server may have refused before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut head = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 431");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_ends_the_request() {
    let limits = Limits { request_timeout: Duration::from_millis(200), ..Limits::default() };
    let home = home_with(limits).await;
    let bearer = format!("Bearer {}", token("home", "read write"));
    let request = format!(
        "POST /api/v1/sync/watchlist HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\norigin: null\r\n\r\n{{"
    );
    let (head, body) = home.http(&request).await;
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert!(body.contains("urn:omega-sync:problem:timeout"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packaged_apps_may_ask_from_their_origins() {
    let home = home().await;
    for origin in ["null", "file://", "https://tv.example"] {
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,x-device-id"),
        ];
        let answer = home.ask("OPTIONS /api/v1/sync/progress", &preflight, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert_eq!(methods, "GET,POST,DELETE,PATCH");
        let allowed = answer.header("access-control-allow-headers").unwrap();
        for name in ["authorization", "content-type", "if-none-match", "x-device-id"] {
            assert!(allowed.contains(name), "{allowed}");
        }
        // The page must be able to read an error too.
        let answer = home.ask("GET /api/v1/watchlist", &[("origin", origin)], "").await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.problem(), "unauthorized");
        let answer = home.ask("GET /nothing", &[("origin", origin)], "").await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.problem(), "not_found");
    }
}

/// Not by its origin, nor by a name of its own that leads here.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_on_the_server_s_machine_reads_nothing_of_the_operator_s() {
    let home = home().await;
    let admin = format!("Bearer {}", token("operator", "admin"));
    for path in ["/health", "/api/v1/health", "/metrics", "/openapi.json", "/docs"] {
        let ask = async |host: &str, more: &str| {
            let head = format!("host: {host}\r\n{more}connection: close\r\n");
            let (head, _) = home.http(&format!("GET {path} HTTP/1.1\r\n{head}\r\n")).await;
            head.split(' ').nth(1).unwrap().to_owned()
        };
        assert_eq!(ask("localhost", "").await, "200", "{path}");
        assert_eq!(ask("127.0.0.1:1", "origin: http://localhost:5173\r\n").await, "200");
        for origin in ["https://evil.example", "null", "file://"] {
            let origin = format!("origin: {origin}\r\n");
            assert_eq!(ask("localhost", &origin).await, "401", "{path} {origin}");
            let with_token = format!("{origin}authorization: {admin}\r\n");
            assert_eq!(ask("localhost", &with_token).await, "200", "{path} {origin}");
        }
        assert_eq!(ask("rebound.example", "").await, "401", "{path}");
        // As some load balancers check: HTTP/1.0, without a host.
        let (head, _) = home.http(&format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_about_to_stop_ends_the_connections_that_are_kept() {
    let home = home().await;
    let request = b"GET /health?probe=live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut kept = TcpStream::connect(home.server.address()).await.unwrap();
    kept.write_all(request).await.unwrap();
    let mut first = vec![0; 4_096];
    let length = timeout(DEADLINE, kept.read(&mut first)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first[..length]).starts_with("HTTP/1.1 200"));
    home.server.drain();
    kept.write_all(request).await.unwrap();
    let mut last = Vec::new();
    timeout(DEADLINE, kept.read_to_end(&mut last)).await.expect("an end").unwrap();
    let last = String::from_utf8(last).unwrap();
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
}

async fn token_status(home: &Home, headers: &str) -> (String, String) {
    let path = "/dev/token?household=home&device=tv";
    home.http(&format!("GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_token_opens_a_session() {
    let home = home().await;
    let headers = "host: localhost:8083\r\norigin: http://127.0.0.1:8083\r\n";
    let (head, body) = token_status(&home, headers).await;
    assert!(head.contains("access-control-allow-origin: http://127.0.0.1:8083"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let mut socket = home.connect().await;
    socket.send(hello(1, body["token"].as_str().unwrap()).encode()).await;
    assert!(matches!(ServerFrame::decode(&socket.frame().await), Ok(ServerFrame::Welcome(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn development_tokens_are_for_this_machine_only() {
    let home = home().await;
    for headers in [
        "host: rebound.example:8083\r\n",
        "host: localhost\r\norigin: https://evil.example\r\n",
        "host: localhost\r\norigin: null\r\n",
    ] {
        let (head, body) = token_status(&home, headers).await;
        assert!(head.starts_with("HTTP/1.1 403"), "{headers}: {head}");
        assert!(!head.contains("access-control") && !body.contains("token\":"), "{body}");
    }
    let folder = tempfile::tempdir().unwrap();
    let args = ServeArgs { dev: false, ..args(folder.path()) };
    let server = Server::start(&args, Limits::default()).await.unwrap();
    let home = Home { folder, server };
    let (head, _) = token_status(&home, "host: localhost\r\n").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn static_files_have_their_types_and_are_not_cached_in_development() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir(&site).unwrap();
    for name in ["index.html", "app.js", "core.wasm"] {
        std::fs::write(site.join(name), name).unwrap();
    }
    let args = ServeArgs { static_folder: Some(site), ..args(folder.path()) };
    let server = Server::start(&args, Limits::default()).await.unwrap();
    let home = Home { folder, server };
    for (path, mime) in
        [("/", "text/html"), ("/app.js", "text/javascript"), ("/core.wasm", "application/wasm")]
    {
        let (head, _) = home.get(path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {mime}")), "{path}: {head}");
        assert!(head.contains("cache-control: no-cache"), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
    }
    let (head, body) = home.get("/../secret").await;
    assert!(!head.starts_with("HTTP/1.1 200") && !body.contains("secret of"), "{head}");
    assert!(home.get("/missing.js").await.0.starts_with("HTTP/1.1 404"));
}

async fn start_error(args: ServeArgs) -> ProcessError {
    let error = Server::start(&args, Limits::default()).await.err().unwrap();
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_not_start_says_why_in_one_line() {
    let home = home().await;
    let taken = home.server.address().to_string();
    let fresh = tempfile::tempdir().unwrap();
    let good = args(fresh.path());

    let error = start_error(ServeArgs { listen: Some(taken), ..good.clone() }).await;
    assert!(matches!(error, ProcessError::AddressInUse(_)), "{error}");
    let folder = home.folder.path().join("store");
    let error = start_error(ServeArgs { data: folder, ..good.clone() }).await;
    assert!(matches!(error, ProcessError::Open(OpenError::Locked(_))), "{error}");
    let file = fresh.path().join("file");
    std::fs::write(&file, "short").unwrap();
    let error = start_error(ServeArgs { data: file.join("below"), ..good.clone() }).await;
    assert!(matches!(error, ProcessError::Open(OpenError::Folder { .. })), "{error}");
    let mut short = good.clone();
    short.jwt_secret_file = Some(file.clone());
    assert!(start_error(short).await.to_string().contains("use 32 to 4096 random bytes"));
    let mut missing = ServeArgs { dev: false, ..good.clone() };
    missing.jwt_secret_file = Some(fresh.path().join("none"));
    assert!(matches!(start_error(missing).await, ProcessError::Secret(_)));
    let error = start_error(ServeArgs { static_folder: Some(file), ..good.clone() }).await;
    assert!(matches!(error, ProcessError::Static(_)), "{error}");
    let error = start_error(ServeArgs { listen: Some("192.0.2.1:1".into()), dev: false, ..good });
    assert!(matches!(error.await, ProcessError::Listen { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rooms_do_is_counted() {
    let home = home().await;
    let mut tv = home.join(1).await;
    let mut other = home.join(2).await;
    tv.add(1, "tmdb:1").await;
    tv.frame().await;
    other.frame().await;
    tv.operate(1, ProfileId(9), Change::Add(ContentId::new("tmdb:2").unwrap(), Vec::new())).await;
    tv.frame().await;
    let body = serde_json::json!({"operation": "add", "content_id": "tmdb:3"});
    assert_eq!(home.rest("POST /api/v1/sync/watchlist", body).await.status, 200);
    let (_, text) = home.get("/metrics").await;
    for line in [
        "omega_operations_total 2",
        "omega_refused_operations_total{reason=\"profile_unknown\"} 1",
        "omega_refused_operations_total{reason=\"forbidden\"} 0",
        "omega_states_total 2",
        "omega_differences_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap().parse().unwrap()
    };
    assert!(value("omega_plain_bytes_total") > value("omega_delta_bytes_total"), "{text}");
    assert!(value("omega_fanout_seconds_count") >= 1, "{text}");
}
