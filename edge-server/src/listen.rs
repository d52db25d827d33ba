//! Accepts TCP connections, with TLS if there is a certificate, serves HTTP/1.1 on them, and stops.
//!
//! A loop of our own because of two bounds that `axum::serve` has not: connections at a time, and
//! time for a request's headers to arrive.

use crate::address::{Entrance, Gate};
use crate::limits::{
    HEADERS_BYTES_MAX, HEADERS_TIMEOUT, RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES,
    TCP_CONNECTIONS_MAX,
};
use crate::wire::{Credit, Wire};
use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
#[cfg(feature = "crypto")]
use {crate::limits::TLS_HANDSHAKE_TIMEOUT, tokio::time::timeout};

/// Wait after a failed accept; most often there are no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// The other end of a connection, with its place among [`TCP_CONNECTIONS_MAX`].
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The bytes that it may send.
    pub(crate) credit: Arc<Credit>,
    _place: Arc<OwnedSemaphorePermit>,
    _entrance: Option<Arc<Entrance>>,
}

/// What connections are secured with.
#[cfg(feature = "crypto")]
pub(crate) type Tls = Option<Arc<crate::tls::ServerTls>>;
/// This build has no TLS.
#[cfg(not(feature = "crypto"))]
pub(crate) type Tls = Option<Arc<std::convert::Infallible>>;

/// Listens. What the system keeps for a connection is bounded here, because a connection gets it from
/// its listener.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    socket.set_send_buffer_size(size(SEND_BUFFER_BYTES))?;
    socket.set_recv_buffer_size(size(RECEIVE_BUFFER_BYTES))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until told to stop, then gives the HTTP connections that are open up.
pub(crate) async fn run(
    listener: TcpListener,
    gate: Arc<Gate>,
    router: Router,
    tls: Tls,
    patience: Duration,
    stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    let mut stop = stopping.clone();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, mut peer)) => {
                let Some(entrance) = gate.enter(peer.address.ip()) else {
                    tracing::debug!("an address has too many connections");
                    continue;
                };
                peer._entrance = entrance.map(Arc::new);
                let (router, stopping) = (router.clone(), stopping.clone());
                let stream = Wire::new(stream, patience, peer.credit.clone());
                tokio::spawn(secured(stream, peer, router, tls.clone(), stopping));
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Waits until the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the server is gone altogether.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Peer)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    // Frames are small and each is a whole message: waiting for more only delays them.
    stream.set_nodelay(true)?;
    let credit = Credit::any();
    Ok((stream, Peer { address, credit, _place: Arc::new(place), _entrance: None }))
}

/// Lets a connection begin with TLS, if there is a certificate.
async fn secured(
    stream: Wire<TcpStream>,
    peer: Peer,
    router: Router,
    tls: Tls,
    stopping: watch::Receiver<bool>,
) {
    let Some(tls) = tls else {
        return connection(stream, peer, router, stopping).await;
    };
    #[cfg(not(feature = "crypto"))]
    match *tls {}
    #[cfg(feature = "crypto")]
    {
        let mut stop = stopping.clone();
        let accepted = tokio::select! {
            accepted = timeout(TLS_HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)) => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok(Ok(stream)) => connection(stream, peer, router, stopping).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }
}

async fn connection<S>(stream: S, peer: Peer, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<_>| {
        let (router, peer) = (router.clone(), peer.clone());
        async move {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(peer);
            tower_service::Service::call(&mut { router }, request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}
