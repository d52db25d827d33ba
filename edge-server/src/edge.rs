//! What all requests and sockets of a server share.

use crate::address::{Addresses, Proxies};
use crate::aggregate::Aggregate;
use crate::auth::revoked::Revoked;
use crate::auth::{Authority, Principal};
use crate::config::ServeArgs;
use crate::error::Error;
use crate::hub::Hub;
use crate::limits::{GZIPS_MAX, Limits, TCP_CONNECTIONS_MAX};
use crate::listen::Peer;
use crate::metrics::Metrics;
use crate::outbox::Outboxes;
use crate::pairing::Pairings;
use crate::quota::{Pace, Quota, Rate};
use crate::room::seat::Shared;
use crate::store::access::AccessStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use axum::http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// What all requests and sockets share.
pub(crate) struct Edge {
    pub(crate) hub: Hub,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authority: Authority,
    /// Tokens that count no more.
    pub(crate) revoked: Arc<Revoked>,
    /// Paired devices.
    pub(crate) access: Arc<dyn AccessStore>,
    /// How often an address may ask without a good token.
    pub(crate) addresses: Addresses,
    /// Who is believed when it says from where a request comes.
    pub(crate) proxies: Proxies,
    /// Devices that want to be paired, if there is pairing here.
    pub(crate) pairings: Option<Pairings>,
    /// Where phones find this server.
    pub(crate) pair_url: Option<String>,
    /// Whether this is a developer's own machine.
    pub(crate) dev: bool,
    pub(crate) limits: Limits,
    /// Places for WebSocket sessions.
    pub(crate) sockets: Arc<Semaphore>,
    /// What waits to be written to all of them.
    pub(crate) outboxes: Outboxes,
    /// Places for the bytes of one-shot sessions.
    pub(crate) exchanges: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    /// What all households teach.
    pub(crate) aggregate: Arc<Aggregate>,
    /// How often each may ask.
    pub(crate) quota: Arc<Quota>,
    /// Places for answers that are being packed.
    pub(crate) gzips: Arc<Semaphore>,
    /// A place for each request that is under way.
    pub(crate) requests: Arc<Semaphore>,
    /// Whether the server is about to stop, and should be sent nothing new.
    pub(crate) draining: watch::Sender<bool>,
    /// Whether the server stops.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Edge {
    /// Of a server that begins, on a store that is open.
    ///
    /// # Errors
    /// The store can't say which tokens are revoked.
    pub(crate) async fn new(
        args: &ServeArgs,
        limits: Limits,
        authority: Authority,
        aggregate: Arc<Aggregate>,
        metrics: Arc<Metrics>,
        opened: Arc<SqliteStore>,
    ) -> Result<Self, StoreError> {
        let revoked = Arc::new(Revoked::load(opened.clone()).await?);
        let quota = Arc::new(Quota::new(&limits));
        let (store, access): (Arc<dyn Store>, Arc<dyn AccessStore>) = (opened.clone(), opened);
        let hub = Hub::new(Shared {
            store: store.clone(),
            limits: limits.clone(),
            metrics: metrics.clone(),
            aggregate: aggregate.clone(),
            quota: quota.clone(),
            differences: args.delta_sync.enabled,
        });
        let pairing = args.access.pair_url.is_some() || args.dev;
        Ok(Self {
            hub,
            store,
            authority: authority.with_revoked(revoked.clone()),
            revoked,
            access,
            addresses: Addresses::new(rate(limits.address_rate)),
            proxies: args.access.proxies(),
            pairings: pairing.then(|| Pairings::new(limits.pairing)),
            pair_url: args.access.pair_url.clone(),
            dev: args.dev,
            sockets: Arc::new(Semaphore::new(limits.sockets_max)),
            outboxes: Outboxes::new(&limits),
            exchanges: Arc::new(Semaphore::new(limits.exchanges_bytes_max)),
            metrics,
            aggregate,
            quota,
            gzips: Arc::new(Semaphore::new(GZIPS_MAX)),
            requests: Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX)),
            draining: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
            limits,
        })
    }

    /// Who has this token. Each that is not good counts for the address that it comes from.
    ///
    /// # Errors
    /// The token is not good; [`Error::RateLimited`] when the address had too many of them.
    pub(crate) async fn admit(&self, token: &str, from: IpAddr) -> Result<Principal, Error> {
        match self.authority.admit(token).await {
            Ok(principal) => Ok(principal),
            Err(error) => {
                self.addresses.take(from)?;
                Err(error.into())
            }
        }
    }

    /// The address that a request comes from.
    pub(crate) fn address(&self, peer: &Peer, headers: &HeaderMap) -> IpAddr {
        self.proxies.client(peer.address.ip(), headers)
    }
}

/// How often one may ask; a rate of 0 is none.
fn rate(rate: Rate) -> Option<Pace> {
    (rate.per_second > 0).then(|| rate.into())
}
