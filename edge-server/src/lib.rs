//! The edge server of Omega Sync: it carries what the core decides.
//!
//! `http` and `ws` move requests and frames, `hub` and `room` own one household each, `store` keeps
//! bytes. `auth` alone sees tokens, `store::sqlite` alone writes SQL, and no module decides a
//! merge.

pub mod address;
pub mod aggregate;
pub mod auth;
mod clock;
pub mod config;
mod dev;
mod dispatch;
mod edge;
pub mod error;
#[cfg(feature = "crypto")]
pub(crate) mod fetch;
mod http;
mod hub;
mod json;
pub mod limits;
mod listen;
pub mod log;
mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
mod outbox;
pub mod pairing;
mod plays;
mod presence;
pub mod quota;
mod room;
pub mod store;
#[cfg(feature = "crypto")]
mod tls;
pub mod train;
pub mod upkeep;
mod wire;
mod ws;

use crate::address::Gate;
use crate::aggregate::Aggregate;
use crate::auth::{Authority, Secret};
use crate::config::{ServeArgs, TokenArgs};
use crate::edge::Edge;
use crate::error::ProcessError;
use crate::limits::{CLOSE_TIMEOUT, FINISH_TIMEOUT, Limits, STOP_TIMEOUT, TCP_CONNECTIONS_MAX};
use crate::metrics::Metrics;
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

pub use dev::TOKEN_LIFE as DEV_TOKEN_LIFE;

/// A running server.
pub struct Server {
    address: SocketAddr,
    edge: Arc<Edge>,
    listening: JoinHandle<()>,
}

impl Server {
    /// Opens the store and listens.
    ///
    /// # Errors
    /// The address, the secret or the data folder can't be used.
    pub async fn start(args: &ServeArgs, limits: Limits) -> Result<Self, ProcessError> {
        let wanted = args.address()?;
        if let Some(folder) = args.static_folder.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(ProcessError::Static(folder.display().to_string()));
        }
        let settings = args.aggregate.settings()?;
        let (authority, keys) = args.authority(&limits).await?;
        let tls = args.access.tls()?;
        let (listener, address) = bind(wanted)?;
        let opened = open(args.data.clone()).await?;
        let tables = args.aggregate.tables()?;
        let metrics = Arc::new(Metrics::default());
        let aggregate = Aggregate::new(opened.clone(), settings, tables, metrics.clone());
        let aggregate = Arc::new(aggregate);
        let patience = limits.write_timeout;
        let gate = Gate::new(
            limits.address_connections_max,
            args.access.proxies(),
            limits.loopback_counts,
        );
        #[cfg(feature = "crypto")]
        let tls_reload_every = limits.tls_reload_every;
        let edge = Edge::new(args, limits, authority, aggregate, metrics, opened).await?;
        let edge = Arc::new(edge);
        let stopping = edge.stopping.subscribe();
        let router = http::router(edge.clone(), args.dev, args.static_folder.as_deref());
        #[cfg(feature = "crypto")]
        if let Some(tls) = &tls {
            tokio::spawn(tls.clone().run(tls_reload_every, stopping.clone()));
        }
        if let Some(keys) = keys {
            tokio::spawn(keys.run(stopping.clone()));
        }
        tokio::spawn(edge.aggregate.clone().run(stopping.clone()));
        let listening = tokio::spawn(listen::run(listener, gate, router, tls, patience, stopping));
        Ok(Self { address, edge, listening })
    }

    /// Where it listens; of use when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that it is not ready any more, and goes on as before: whoever sends it requests has time
    /// to send them elsewhere.
    pub fn drain(&self) {
        self.edge.draining.send_replace(true);
    }

    /// Stops accepting, lets the requests that are under way end and each room finish its commit,
    /// closes all sockets with `restart`, and closes the store. Each step has its time limit, so that
    /// a disk that hangs can't hold the process.
    pub async fn stop(mut self) -> Result<(), ProcessError> {
        self.drain();
        self.edge.stopping.send_replace(true);
        let all = u32::try_from(TCP_CONNECTIONS_MAX).unwrap_or(u32::MAX);
        if timeout(FINISH_TIMEOUT, self.edge.requests.acquire_many(all)).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        if timeout(STOP_TIMEOUT, self.edge.hub.stop()).await.is_err() {
            tracing::warn!("some rooms did not end in time; what they acknowledged is durable");
        }
        let all = u32::try_from(self.edge.limits.sockets_max).unwrap_or(u32::MAX);
        if timeout(CLOSE_TIMEOUT, self.edge.sockets.acquire_many(all)).await.is_err() {
            tracing::debug!("some sockets did not answer the close frame");
        }
        let _ = (&mut self.listening).await;
        let closed = timeout(STOP_TIMEOUT, self.edge.store.close()).await;
        let late = || Err(StoreError::Unavailable("it did not close in time".into()));
        Ok(closed.unwrap_or_else(|_| late())?)
    }
}

/// One that is not stopped in order accepts no more all the same.
impl Drop for Server {
    fn drop(&mut self) {
        self.edge.stopping.send_replace(true);
    }
}

/// Listens, and says where.
fn bind(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), ProcessError> {
    let failed = |error: std::io::Error| ProcessError::Listen {
        address: wanted.to_string(),
        reason: error.to_string(),
    };
    let listener = listen::bind(wanted).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => ProcessError::AddressInUse(wanted.to_string()),
        _ => failed(error),
    })?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Opens the store.
async fn open(data: PathBuf) -> Result<Arc<SqliteStore>, ProcessError> {
    let opened = spawn_blocking(move || SqliteStore::open(&data)).await;
    Ok(Arc::new(opened.map_err(|error| ProcessError::System(error.to_string()))??))
}

/// Runs a server until the process is asked to end (SIGINT or SIGTERM).
///
/// # Errors
/// It could not start, or not close the store.
pub async fn serve(args: &ServeArgs) -> Result<(), ProcessError> {
    let mut signals = Signals::listen()?;
    let server = Server::start(args, args.limits()).await?;
    // Nobody may be there to read it.
    let scheme = if args.access.tls_cert.is_some() { "https" } else { "http" };
    let _ = writeln!(std::io::stdout(), "omega-edge listens on {scheme}://{}", server.address());
    if args.dev {
        tracing::warn!("development mode: tokens for everyone on this machine");
    }
    if args.aggregate.no_noise {
        tracing::warn!("--no-noise: what is released of households is not private");
    }
    if !args.delta_sync.enabled {
        tracing::info!("DELTA_SYNC_ENABLED is false: who returns gets the whole state");
    }
    for setting in args.delta_sync.without_effect() {
        tracing::warn!("{setting} has no effect: nothing is compressed");
    }
    signals.next().await;
    if !args.drain.is_zero() {
        tracing::info!(seconds = args.drain.as_secs_f32(), "not ready any more");
        server.drain();
        tokio::select! {
            () = sleep(args.drain) => {}
            () = signals.next() => tracing::info!("asked again"),
        }
    }
    tracing::info!("stopping");
    server.stop().await
}

/// The text of a token.
///
/// # Errors
/// The secret can't be read.
pub fn token(args: &TokenArgs) -> Result<String, ProcessError> {
    let secret = Secret::read(&args.jwt_secret_file)?;
    let authority = Authority::new(&secret, &args.claims.jwt_issuer, &args.claims.jwt_audience);
    let TokenArgs { household, device, scope, region, expires_in, .. } = args;
    Ok(authority.issue(household, device, scope, region.as_ref(), *expires_in)?)
}

/// What asks the process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on, not only once somebody waits.
    fn listen() -> Result<Self, ProcessError> {
        let listen = |kind| signal(kind).map_err(|error| ProcessError::System(error.to_string()));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
