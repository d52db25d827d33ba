//! Clients that want the server's memory or time: each loses its connection, and says nothing to others.

use super::*;
use crate::limits::{STRANGER_BYTES_MAX, WRITE_TIMEOUT};
use serde_json::json;
use tokio::net::TcpSocket;

const SHORT: Duration = Duration::from_millis(300);

/// A connection whose own end keeps next to nothing of what it does not read.
async fn narrow(home: &Home) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(home.server.address()).await.unwrap()
}

/// The start of a WebSocket; its answer is read.
pub(super) async fn upgrade(stream: &mut TcpStream, headers: &[&str]) {
    let usual = ["GET /ws HTTP/1.1", "host: localhost", "connection: upgrade"];
    let own = ["upgrade: websocket", "sec-websocket-version: 13"];
    let key = ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];
    let lines: Vec<&str> = usual.iter().chain(&own).chain(&key).chain(headers).copied().collect();
    let head = format!("{}\r\n\r\n", lines.join("\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
}

/// A masked frame (RFC 6455, section 5.2) of less than 64 KiB; the mask is zero.
fn frame(opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(body.len()).unwrap() {
        short @ ..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0xfe);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(body);
    frame
}

/// Sends the same again and again until the connection is gone.
async fn send_until_gone(stream: &mut TcpStream, bytes: &[u8]) {
    let gone = async { while stream.write_all(bytes).await.is_ok() {} };
    timeout(DEADLINE, gone).await.expect("the server ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_reads_loses_a_socket_that_speaks_json() {
    let home = home_with(Limits { write_timeout: SHORT, ..limits() }).await;
    let mut stream = narrow(&home).await;
    let bearer = format!("authorization: Bearer {}", token("home", "read write"));
    upgrade(&mut stream, &[&bearer]).await;
    let ping = json!({"type": "ping", "id": "x".repeat(60)}).to_string();
    send_until_gone(&mut stream, &frame(1, ping.as_bytes())).await;
    let figures = until_figure(&home, "omega_sockets 0\n").await;
    assert!(figures.contains("omega_closes_total{code=\"slow\"} 1\n"), "{figures}");
    assert!(figures.contains("omega_outbox_bytes 0\n"), "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_reads_loses_a_connection_of_requests() {
    let home = home_with(Limits { write_timeout: SHORT, ..limits() }).await;
    let mut stream = narrow(&home).await;
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n";
    send_until_gone(&mut stream, request).await;
    assert!(home.get("/health").await.0.starts_with("HTTP/1.1 200"));
    assert!(WRITE_TIMEOUT > 10 * SHORT, "usually it has more time");
}

/// The server's figures once they have this line.
pub(super) async fn until_figure(home: &Home, line: &str) -> String {
    let find = async {
        loop {
            let (_, figures) = home.get("/metrics").await;
            if figures.contains(line) {
                return figures;
            }
        }
    };
    timeout(DEADLINE, find).await.unwrap_or_else(|_| panic!("no {line}"))
}

/// The code that a socket is closed with which sends a part of a large frame, and no token.
async fn stranger(bytes: usize, hello_timeout: Duration) -> CloseCode {
    let home = home_with(Limits { hello_timeout, ..limits() }).await;
    let mut stream = TcpStream::connect(home.server.address()).await.unwrap();
    upgrade(&mut stream, &["sec-websocket-protocol: omega.v1"]).await;
    let mut part = frame(2, &vec![0; usize::from(u16::MAX)]);
    part.truncate(bytes);
    stream.write_all(&part).await.unwrap();
    let mut answer = Vec::new();
    // It ends with a reset where not all was read; the close frame came before.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
    CloseCode::from_code(u16::from_be_bytes([answer[2], answer[3]])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_token_may_not_send_much() {
    assert_eq!(stranger(STRANGER_BYTES_MAX - 1, 3 * SHORT).await, CloseCode::Idle);
    assert_eq!(stranger(STRANGER_BYTES_MAX + 1, DEADLINE).await, CloseCode::TooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_socket_sends_counts() {
    let device = Rate { per_second: 1, burst: 50 };
    let operations = Allowance { device, household: Rate::ANY };
    let home = home_with(Limits { operations, ..limits() }).await;
    let bearer = |device| format!("Bearer {}", token_of("home", device, "read write"));
    let floods = [
        ("pings", Message::Ping(Vec::new().into())),
        ("pongs", Message::Pong(Vec::new().into())),
        ("nonsense", Message::text("x")),
        ("messages", Message::text(r#"{"type": "ping"}"#)),
    ];
    for (name, message) in floods {
        let headers = [("Authorization", bearer(name))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let mut socket = home.connect_with(&headers).await.unwrap();
        for _ in 0..100 {
            // It may be closed already.
            let _ = socket.socket.send(message.clone()).await;
        }
        assert_eq!(socket.close().await, CloseCode::RateLimited, "{name}");
    }
    let mut tv = home.join(1).await;
    for _ in 0..100 {
        let _ = tv.socket.send(Message::Ping(Vec::new().into())).await;
    }
    assert_eq!(tv.close().await, CloseCode::RateLimited, "on the binary protocol");
}
