//! Where requests come from, and how often one address may ask without a good token.
//!
//! The address is the connection's; only a proxy that the operator names is believed when it says
//! another (`X-Forwarded-For`, read from its end). An IPv6 network of 64 bits counts as one address,
//! because that much one customer has. Invariant: what is kept of addresses is bounded, and an
//! address above its rate costs no other one anything until the table is full.

use crate::error::Error;
use crate::limits::ADDRESSES_KEPT;
use crate::quota::Pace;
use axum::http::{HeaderMap, HeaderName};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The addresses that a request came through, the client's first.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How often full buckets are looked for when there is no place.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Addresses with a common beginning: `10.0.0.0/8`, or one: `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((ours, width), (theirs, other)) = (bits(self.address), bits(address));
        let shift = 128 - self.bits;
        width == other && (shift == 128 || ours >> shift == theirs >> shift)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no address, nor a network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > width { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

/// Proxies that are believed when they say from where a request comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(pub Vec<Network>);

impl Proxies {
    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Who sent a request: the last address that none of these proxies has.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let said = headers.get_all(X_FORWARDED_FOR).into_iter();
        let said: Vec<&str> = said.filter_map(|value| value.to_str().ok()).collect();
        let mut hops = said.iter().rev().flat_map(|value| value.rsplit(','));
        while self.contain(client) {
            match hops.next().and_then(hop) {
                Some(address) => client = address,
                // Nobody said, or nonsense: it came from the proxy, for all that is known.
                None => break,
            }
        }
        client
    }
}

fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse::<SocketAddr>().map(|address| address.ip());
    address.or_else(|_| text.parse()).ok().map(|address| address.to_canonical())
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

struct Table {
    full_at: HashMap<IpAddr, Instant>,
    swept_at: Option<Instant>,
}

/// A bucket for each address that asked lately.
pub(crate) struct Addresses {
    pace: Option<Pace>,
    kept: usize,
    table: Mutex<Table>,
}

impl Addresses {
    /// Full buckets for everybody; none at all without a pace.
    pub(crate) fn new(pace: Option<Pace>) -> Self {
        let table = Mutex::new(Table { full_at: HashMap::new(), swept_at: None });
        Self { pace, kept: ADDRESSES_KEPT, table }
    }

    /// Takes a place of an address.
    ///
    /// # Errors
    /// There is none: [`Error::RateLimited`] says for how long.
    pub(crate) fn take(&self, address: IpAddr) -> Result<(), Error> {
        self.take_at(address, Instant::now())
            .map_err(|wait| Error::RateLimited(wait.as_secs_f64().ceil() as u32))
    }

    fn take_at(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(pace) = self.pace else { return Ok(()) };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut address = network(address);
        if table.full_at.len() >= self.kept && !table.full_at.contains_key(&address) {
            if table.swept_at.is_none_or(|at| now - at >= SWEEP_EVERY) {
                table.full_at.retain(|_, full_at| *full_at > now);
                table.swept_at = Some(now);
            }
            if table.full_at.len() >= self.kept {
                // Those for whom there is no place share one.
                address = Ipv4Addr::UNSPECIFIED.into();
            }
        }
        let full_at = pace.take(table.full_at.get(&address).copied(), now)?;
        table.full_at.insert(address, full_at);
        Ok(())
    }
}

/// Who may connect: so many connections from one address, but as many as they like from this machine
/// and from proxies.
pub(crate) struct Gate {
    max: usize,
    proxies: Proxies,
    loopback_counts: bool,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place among those of its address.
pub(crate) struct Entrance {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    /// `max` 0: any number. `loopback_counts`: this machine is as any other, for tests.
    pub(crate) fn new(max: usize, proxies: Proxies, loopback_counts: bool) -> Arc<Self> {
        Arc::new(Self { max, proxies, loopback_counts, open: Mutex::default() })
    }

    /// A place for a connection, none needed (`Some(None)`), or `None` when there is none left.
    #[allow(clippy::option_option, reason = "three answers: no place, no need of one, a place")]
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Option<Entrance>> {
        let peer = peer.to_canonical();
        let free = peer.is_loopback() && !self.loopback_counts;
        if self.max == 0 || free || self.proxies.contain(peer) {
            return Some(None);
        }
        let address = network(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Some(Entrance { gate: self.clone(), address }))
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies(texts: &[&str]) -> Proxies {
        Proxies(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn networks_have_their_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "198.51.100.1", "::1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(address(inside)), "{network:?}");
            assert!(!network.contains(address(outside)), "{network:?}");
        }
        for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "example.org", "10/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_named_proxy_is_believed() {
        let client = |proxies: &Proxies, peer: &str, said: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(X_FORWARDED_FOR, value.parse().unwrap());
            }
            proxies.client(address(peer), &headers).to_string()
        };
        let none = Proxies::default();
        assert_eq!(client(&none, "192.0.2.1", &["203.0.113.7"]), "192.0.2.1");
        assert_eq!(client(&none, "127.0.0.1", &["203.0.113.7"]), "127.0.0.1");
        let some = proxies(&["127.0.0.1", "10.0.0.0/8"]);
        assert_eq!(client(&some, "127.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&some, "::ffff:127.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&some, "192.0.2.1", &["203.0.113.7"]), "192.0.2.1");
        // What the client itself wrote stands before what the proxies wrote.
        let forged = ["198.51.100.1, 203.0.113.7", "10.1.1.1"];
        assert_eq!(client(&some, "127.0.0.1", &forged), "203.0.113.7");
        assert_eq!(client(&some, "127.0.0.1", &["203.0.113.7:4711"]), "203.0.113.7");
        assert_eq!(client(&some, "127.0.0.1", &["[2001:db8::1]:80"]), "2001:db8::1");
        for nonsense in ["unknown", "", "203.0.113.7, _hidden", "1.2.3.4.5"] {
            assert_eq!(client(&some, "127.0.0.1", &[nonsense]), "127.0.0.1", "{nonsense}");
        }
        assert_eq!(client(&some, "127.0.0.1", &["10.1.1.1"]), "10.1.1.1", "all are proxies");
    }

    const PACE: Pace = Pace { interval: Duration::from_secs(1), burst: 2 };

    #[test]
    fn an_address_above_its_rate_waits_and_no_other() {
        let (all, now) = (Addresses::new(Some(PACE)), Instant::now());
        let take = |text: &str| all.take_at(address(text), now);
        assert!(take("192.0.2.1").is_ok() && take("192.0.2.1").is_ok());
        assert_eq!(take("192.0.2.1"), Err(Duration::from_secs(1)));
        assert!(take("192.0.2.2").is_ok());
        // A customer's network is one address.
        assert!(take("2001:db8::1").is_ok() && take("2001:db8::ffff:1").is_ok());
        assert!(take("2001:db8::2").is_err());
        assert!(take("2001:db8:0:1::1").is_ok());
        let later = now + Duration::from_secs(1);
        assert_eq!(all.take_at(address("192.0.2.1"), later), Ok(()));
        assert!(Addresses::new(None).take_at(address("192.0.2.1"), now).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_those_without_place_share_one() {
        let mut all = Addresses::new(Some(PACE));
        all.kept = 10;
        let now = Instant::now();
        let take = |number: u32, at| all.take_at(Ipv4Addr::from_bits(number).into(), at);
        let passed = (1..=30).filter(|number| take(*number, now).is_ok()).count();
        assert_eq!(passed, 12, "ten of their own, and two places for all others");
        assert!(all.table.lock().unwrap().full_at.len() <= 11);
        assert!(take(5, now).is_ok(), "who has a bucket keeps it");
        let later = now + Duration::from_secs(10);
        let passed = (100..110).filter(|number| take(*number, later).is_ok()).count();
        assert_eq!(passed, 10, "full buckets gave their place away");
    }

    #[test]
    fn connections_are_counted_by_address() {
        let gate = Gate::new(2, proxies(&["10.0.0.0/8"]), false);
        let enter = |text: &str| gate.enter(address(text));
        let (one, two) = (enter("192.0.2.1"), enter("192.0.2.1"));
        assert!(one.is_some() && two.is_some() && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(one);
        let again = enter("192.0.2.1");
        assert!(again.is_some() && enter("192.0.2.1").is_none());
        for _ in 0..5 {
            assert!(matches!(enter("127.0.0.1"), Some(None)), "this machine");
            assert!(matches!(enter("10.0.0.1"), Some(None)), "a proxy");
        }
        drop((two, again));
        assert!(gate.open.lock().unwrap().is_empty());
        let any = Gate::new(0, Proxies::default(), true);
        assert!(matches!(any.enter(address("192.0.2.1")), Some(None)));
    }
}
