//! TLS: real clients, and a certificate that changes while connections live.

use super::*;
use crate::tls::{self, Files};
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A folder with a certificate for this machine.
struct Papers {
    folder: TempDir,
}

impl Papers {
    fn new() -> Self {
        let papers = Self { folder: tempfile::tempdir().unwrap() };
        papers.renew();
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make() -> CertifiedKey<KeyPair> {
        rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap()
    }

    /// Writes another certificate, and its key.
    fn renew(&self) {
        let made = Self::make();
        std::fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn files(&self) -> Files {
        Files { certificate: self.path("cert.pem"), key: self.path("key.pem") }
    }

    /// A client that trusts the certificate as it is now.
    fn client(&self) -> Arc<ClientConfig> {
        tls::client(Some(&self.path("cert.pem"))).unwrap()
    }

    fn serve(&self, args: &mut ServeArgs) {
        args.access.tls_cert = Some(self.path("cert.pem"));
        args.access.tls_key = Some(self.path("key.pem"));
    }
}

async fn secure_home(papers: &Papers) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path());
    papers.serve(&mut args);
    let limits = Limits { tls_reload_every: Duration::from_millis(20), ..limits() };
    let server = Server::start(&args, limits).await.unwrap();
    Home { folder, server }
}

impl Home {
    async fn secure(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }
}

/// A request on a connection that goes on; its status line.
async fn request(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut part = [0; 4096];
        let read = timeout(DEADLINE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0, "closed");
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8(answer).unwrap().lines().next().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_and_no_plain_text() {
    let papers = Papers::new();
    let home = secure_home(&papers).await;
    for (version, spoken) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = tls::client_of(Some(&papers.path("cert.pem")), &[version]).unwrap();
        let mut stream = home.secure(config).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        assert_eq!(request(&mut stream).await, "HTTP/1.1 200 OK");
    }
    let mut plain = TcpStream::connect(home.server.address()).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, plain.read_to_end(&mut answer)).await.expect("an end");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let stranger = Papers::new();
    assert!(home.secure(stranger.client()).await.is_err(), "another's certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_works_over_tls() {
    let papers = Papers::new();
    let home = secure_home(&papers).await;
    let stream = home.secure(papers.client()).await.unwrap();
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    let omega = HeaderValue::from_static("omega.v1");
    request.headers_mut().insert("sec-websocket-protocol", omega);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let hello = hello(1, &token("home", "read write")).encode();
    socket.send(Message::Binary(hello.into())).await.unwrap();
    match timeout(DEADLINE, socket.next()).await.unwrap() {
        Some(Ok(Message::Binary(frame))) => {
            assert!(matches!(ServerFrame::decode(&frame), Ok(ServerFrame::Welcome(_))));
        }
        other => panic!("{other:?}"),
    }
}

/// Connects until it works.
async fn until_trusted(home: &Home, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let connected = async {
        loop {
            if let Ok(stream) = home.secure(config.clone()).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, connected).await.expect("the new certificate")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_and_connections_live_on() {
    let papers = Papers::new();
    let home = secure_home(&papers).await;
    let old = papers.client();
    let mut living = home.secure(old.clone()).await.unwrap();
    assert_eq!(request(&mut living).await, "HTTP/1.1 200 OK");
    papers.renew();
    let new = papers.client();
    let mut stream = until_trusted(&home, &new).await;
    assert_eq!(request(&mut stream).await, "HTTP/1.1 200 OK");
    assert!(home.secure(old).await.is_err(), "the old one is not used any more");
    assert_eq!(request(&mut living).await, "HTTP/1.1 200 OK", "it began before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_not_used() {
    let papers = Papers::new();
    let home = secure_home(&papers).await;
    let (old, made) = (papers.client(), Papers::make());
    // As a program leaves it that writes one file after the other.
    std::fs::write(papers.path("cert.pem"), made.cert.pem()).unwrap();
    let new = papers.client();
    let served = crate::tls::ServerTls::open(papers.files());
    assert!(served.is_err(), "the key is the old one's");
    for _ in 0..20 {
        home.secure(old.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::remove_file(papers.path("cert.pem")).unwrap();
    home.secure(old.clone()).await.unwrap();
    std::fs::write(papers.path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(papers.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    until_trusted(&home, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_says_what_is_wrong_with_a_certificate() {
    let papers = Papers::new();
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let mut args = args(folder.path());
        papers.serve(&mut args);
        match Server::start(&args, limits()).await {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    };
    std::fs::write(papers.path("key.pem"), Papers::make().signing_key.serialize_pem()).unwrap();
    let error = start().await;
    assert!(error.contains("can't be used with its key"), "{error}");
    std::fs::write(papers.path("key.pem"), "nonsense").unwrap();
    let error = start().await;
    assert!(error.contains("key.pem"), "{error}");
    assert!(!error.contains("nonsense"), "{error}");
    std::fs::remove_file(papers.path("cert.pem")).unwrap();
    let error = start().await;
    assert!(error.contains("cert.pem") && error.contains("PEM files"), "{error}");
}
