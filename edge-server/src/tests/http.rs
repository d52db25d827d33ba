//! Health, development tokens, static files, and errors over HTTP.

use super::*;
use crate::error::StartError;
use crate::store::StoreError;

#[tokio::test(flavor = "multi_thread")]
async fn health_says_status_version_and_checks() {
    let home = home().await;
    for path in ["/health", "/api/v1/health"] {
        let (head, body) = home.get(path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let checks = serde_json::json!({"store": "ok"});
        assert_eq!(body, serde_json::json!({"status": "ok", "version": version, "checks": checks}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problem_documents() {
    let home = home().await;
    for (path, status, code) in [
        ("/nothing", 404, "not_found"),
        ("/ws", 426, "upgrade_required"),
        ("/dev/token", 400, "parameter_invalid"),
        ("/dev/token?household=h", 400, "parameter_invalid"),
        ("/dev/token?household=h&device=%0a", 400, "parameter_invalid"),
    ] {
        let (head, body) = home.get(path).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()), "{path}");
    }
    let other = [("Sec-WebSocket-Protocol", "omega.v9")];
    match home.connect_with(&other).await.err().unwrap() {
        Error::Http(response) => assert_eq!(response.status(), 426),
        other => panic!("{other:?}"),
    }
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

async fn start_error(args: ServeArgs) -> StartError {
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
    assert!(matches!(error, StartError::AddressInUse(_)), "{error}");
    let folder = home.folder.path().join("store");
    let error = start_error(ServeArgs { data: folder, ..good.clone() }).await;
    assert!(matches!(error, StartError::Store(StoreError::Locked(_))), "{error}");
    let file = fresh.path().join("file");
    std::fs::write(&file, "short").unwrap();
    let error = start_error(ServeArgs { data: file.join("below"), ..good.clone() }).await;
    assert!(matches!(error, StartError::Store(StoreError::Folder { .. })), "{error}");
    let mut short = good.clone();
    short.jwt.jwt_secret_file = file.clone();
    assert!(start_error(short).await.to_string().contains("use 32 to 4096 random bytes"));
    let mut missing = ServeArgs { dev: false, ..good.clone() };
    missing.jwt.jwt_secret_file = fresh.path().join("none");
    assert!(matches!(start_error(missing).await, StartError::Secret(_)));
    let error = start_error(ServeArgs { static_folder: Some(file), ..good.clone() }).await;
    assert!(matches!(error, StartError::Static(_)), "{error}");
    let error = start_error(ServeArgs { listen: Some("192.0.2.1:1".into()), dev: false, ..good });
    assert!(matches!(error.await, StartError::Listen { .. }));
}
