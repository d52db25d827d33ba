//! Households of TVs against a server: `load run ADDRESS TVS SECONDS EVERY_MS` writes for a while, each
//! household again EVERY_MS after its last write was begun, or at once; `load verify ADDRESS` looks
//! whether what was acknowledged is there. On standard input a line for each TV or household: its
//! household, its token, and to verify how many writes were acknowledged. The last line on standard
//! output is one JSON object.

use futures_util::future::{join_all, try_join_all};
use omega_sync_load::home::{Home, missing};
use omega_sync_load::{Gone, Tv};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, stdin};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::sleep_until;

/// TVs that connect at the same time.
const CONNECT_AT_ONCE: usize = 50;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["run", server, tvs, seconds, every_ms] => run(server, tvs, seconds, every_ms),
        ["verify", server] => verify(server),
        _ => Err("load run ADDRESS TVS SECONDS EVERY_MS | load verify ADDRESS".into()),
    };
    match done {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The words of each line of standard input.
fn lines() -> Result<Vec<Vec<String>>, Gone> {
    let lines = stdin().lock().lines();
    lines.map(|line| Ok(line?.split(' ').map(str::to_owned).collect())).collect()
}

/// A seed that no other TV has: of the process, and of its number.
fn seed(number: usize) -> [u8; 16] {
    let process = u128::from(std::process::id()) << 64;
    (process | number as u128).to_be_bytes()
}

fn run(server: &str, tvs: &str, seconds: &str, every_ms: &str) -> Result<Value, Gone> {
    let server: SocketAddr = server.parse()?;
    let (tvs, every) = (tvs.parse()?, Duration::from_millis(every_ms.parse()?));
    let life = Duration::from_secs(seconds.parse()?);
    let lines = lines()?;
    Runtime::new()?.block_on(async {
        let mut all = Vec::new();
        for (at, some) in lines.chunks(CONNECT_AT_ONCE).enumerate() {
            let some = some.iter().enumerate().map(|(more, line)| async move {
                let token = line.get(1).ok_or("a line without a token")?;
                Tv::connect(server, token, seed(at * CONNECT_AT_ONCE + more)).await
            });
            all.extend(try_join_all(some).await?);
        }
        eprintln!("{} TVs are connected", all.len());
        let (began, mut homes) = (Instant::now(), Vec::new());
        for household in lines.chunks(tvs) {
            let own = all.drain(..household.len()).collect();
            // Not all at the same moment.
            let first = began + every * homes.len() as u32 * tvs as u32 / lines.len() as u32;
            let name = household[0].first().cloned().unwrap_or_default();
            homes.push(live(Home { tvs: own, acked: 0 }, name, first, every, began + life));
        }
        let homes = homes.into_iter().map(tokio::spawn);
        let mut sum = Sum::default();
        for lived in join_all(homes).await {
            sum.add(lived?);
        }
        Ok(sum.figures(began.elapsed()))
    })
}

/// What became of a household.
struct Lived {
    name: String,
    home: Home,
    acks: Vec<Duration>,
    fan_outs: Vec<Duration>,
    /// Why it ended before its time.
    gone: Option<String>,
}

async fn live(home: Home, name: String, first: Instant, every: Duration, end: Instant) -> Lived {
    let mut lived = Lived { name, home, acks: Vec::new(), fan_outs: Vec::new(), gone: None };
    let mut next = first;
    while next < end {
        sleep_until(next.into()).await;
        match lived.home.write().await {
            Ok(took) => {
                lived.acks.push(took.ack);
                lived.fan_outs.extend(took.fan_outs);
            }
            Err(error) => {
                lived.gone = Some(error.to_string());
                break;
            }
        }
        next = (next + every).max(Instant::now());
    }
    lived
}

/// What became of all.
#[derive(Default)]
struct Sum {
    sockets: usize,
    acks: Vec<Duration>,
    fan_outs: Vec<Duration>,
    sent: usize,
    received: usize,
    acked: BTreeMap<String, u32>,
    gone: Vec<String>,
}

impl Sum {
    fn add(&mut self, lived: Lived) {
        self.sockets += lived.home.tvs.len();
        self.sent += lived.home.tvs.iter().map(|tv| tv.sent).sum::<usize>();
        self.received += lived.home.tvs.iter().map(|tv| tv.received).sum::<usize>();
        self.acks.extend(lived.acks);
        self.fan_outs.extend(lived.fan_outs);
        self.acked.insert(lived.name, lived.home.acked);
        self.gone.extend(lived.gone);
    }

    fn figures(mut self, took: Duration) -> Value {
        let acks: u32 = self.acked.values().sum();
        json!({
            "sockets": self.sockets, "households": self.acked.len(), "acks": acks,
            "seconds": took.as_secs_f64(), "acks_per_s": f64::from(acks) / took.as_secs_f64(),
            "ack_ms": spread(&mut self.acks), "fan_out_ms": spread(&mut self.fan_outs),
            "frame_bytes_sent": self.sent, "frame_bytes_received": self.received,
            "ended_early": self.gone.len(), "why": self.gone.first(), "acked": self.acked,
        })
    }
}

/// Median, 99th percentile and longest, in milliseconds.
fn spread(times: &mut [Duration]) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        let at = (times.len().saturating_sub(1) as f64 * share) as usize;
        times.get(at).map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

/// A TV that has never been here looks into each household.
fn verify(server: &str) -> Result<Value, Gone> {
    let server: SocketAddr = server.parse()?;
    let lines = lines()?;
    Runtime::new()?.block_on(async {
        let (mut writes, mut lost) = (0, Vec::new());
        for (at, line) in lines.iter().enumerate() {
            let [household, token, acked] = &line[..] else {
                return Err("a line is a household, a token and a number".into());
            };
            let acked: u32 = acked.parse()?;
            let tv = Tv::connect(server, token, seed(at)).await?;
            writes += acked;
            if let Some(number) = missing(acked, tv.client.replica()) {
                lost.push(format!("{household}: write {number} of {acked}"));
            }
        }
        Ok(json!({"households": lines.len(), "writes": writes, "lost": lost}))
    })
}
