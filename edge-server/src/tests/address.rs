//! Addresses: how often one may ask without a good token, and how often it may connect.

use super::*;

const LINE: &str = "GET /api/v1/watchlist";

/// A server behind a proxy on this machine.
async fn home_behind(limits: Limits) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path());
    let local = "127.0.0.1".parse().unwrap();
    args.access.trusted_proxies = Some(crate::address::Proxies(vec![local]));
    let server = Server::start(&args, limits).await.unwrap();
    Home { folder, server }
}

fn slow() -> Limits {
    // Nothing comes back while the test runs.
    Limits { address_rate: Rate { per_second: 1, burst: 4 }, ..limits() }
}

async fn ask(home: &Home, token: &str, from: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    home.ask(LINE, &[("authorization", &bearer), ("x-forwarded-for", from)], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_count_for_their_address_and_good_ones_never() {
    let home = home_behind(slow()).await;
    let (good, bad) = (token("home", "read"), "x.y.z");
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(ask(&home, bad, "192.0.2.1").await.status);
    }
    assert_eq!(statuses[..4], [401; 4], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    let mut refused = ask(&home, bad, "192.0.2.1").await;
    while refused.status == 401 {
        refused = ask(&home, bad, "192.0.2.1").await;
    }
    assert_eq!(refused.problem(), "rate_limited");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask(&home, &good, "192.0.2.1").await.status, 200, "a neighbour behind one address");
    assert_eq!(ask(&home, bad, "192.0.2.2").await.status, 401, "another address");
    // What the client writes before the proxy's own word is not believed.
    let mut forged = Vec::new();
    for number in 0..10 {
        forged.push(ask(&home, bad, &format!("198.51.100.{number}, 192.0.2.3")).await.status);
    }
    assert!(forged.contains(&429), "{forged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_named_proxy_nobody_is_believed() {
    let home = home_with(slow()).await;
    let mut statuses = Vec::new();
    for number in 0..30 {
        statuses.push(ask(&home, "x.y.z", &format!("192.0.2.{number}")).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let answer = home.get("/dev/token?household=home&device=tv").await.0;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_for_everybody_count_too() {
    let home = home_behind(slow()).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        let from = [("x-forwarded-for", "192.0.2.1")];
        statuses.push(home.ask("GET /pair", &from, "").await.status);
    }
    assert!(statuses[..4] == [200; 4] && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections() {
    let limits = Limits { address_connections_max: 3, loopback_counts: true, ..limits() };
    let home = home_with(limits).await;
    let open = async || {
        let mut stream = TcpStream::connect(home.server.address()).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        let read = timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap();
        read.is_ok().then_some(stream)
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(open().await.expect("a connection"));
    }
    assert!(open().await.is_none(), "closed without an answer");
    held.pop();
    let again = async {
        loop {
            if let Some(stream) = open().await {
                return stream;
            }
        }
    };
    timeout(DEADLINE, again).await.expect("the place of the one that went");
}
