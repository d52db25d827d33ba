//! A TV as the server sees it: the core's client on a real socket, with its storage in memory.

pub mod home;

use futures_util::{SinkExt, StreamExt};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::message::{SUBPROTOCOL, TOKEN_SUBPROTOCOL};
use omega_sync_core::operation::Intent;
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output, Status};
use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Longest wait for anything, unless it never comes.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The id of the request that opens a TV's socket.
pub const REQUEST_ID: &str = "a-tv";

/// Why a TV can't go on: its socket is gone, or what it waits for does not come.
pub type Gone = Box<dyn Error + Send + Sync>;

/// One TV.
pub struct Tv {
    /// What it knows.
    pub client: Client,
    /// Its socket.
    pub socket: WebSocketStream<TcpStream>,
    /// Bytes of the frames that it sent.
    pub sent: usize,
    /// Bytes of the frames that it got.
    pub received: usize,
    started: Instant,
}

impl Tv {
    /// A new TV, which has caught up; each needs a seed of its own.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn connect(server: SocketAddr, token: &str, seed: [u8; 16]) -> Result<Self, Gone> {
        let socket = Self::open(server, token).await?;
        let client = Client::load(&[], None, seed)?.client;
        let started = Instant::now();
        let mut tv = Self { client, socket, sent: 0, received: 0, started };
        tv.come_online().await?;
        Ok(tv)
    }

    /// Comes back with what it knows, as after a power cut of the server.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn reconnect(&mut self, server: SocketAddr, token: &str) -> Result<(), Gone> {
        self.input(Input::Offline).await?;
        self.socket = Self::open(server, token).await?;
        self.come_online().await
    }

    async fn come_online(&mut self) -> Result<(), Gone> {
        self.input(Input::Online).await?;
        self.until(|tv| tv.client.status() == Status::Live).await
    }

    async fn open(server: SocketAddr, token: &str) -> Result<WebSocketStream<TcpStream>, Gone> {
        let mut request = format!("ws://{server}/ws").into_client_request()?;
        let protocols = format!("{SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}{token}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse()?);
        request.headers_mut().insert("x-request-id", REQUEST_ID.parse()?);
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(timeout(DEADLINE, tokio_tungstenite::client_async(request, stream)).await??.0)
    }

    /// Does what its viewer wants.
    ///
    /// # Errors
    /// Its socket is gone.
    pub async fn operate(&mut self, intent: Intent) -> Result<(), Gone> {
        let outputs = self.client.operate(self.now(), intent)?;
        self.carry_out(outputs).await?;
        self.input(Input::Woke).await
    }

    /// Takes what the server sends until something is so.
    ///
    /// # Errors
    /// Its socket is gone, or it is not so in time.
    pub async fn until(&mut self, so: impl Fn(&Self) -> bool) -> Result<(), Gone> {
        while !so(self) {
            let message = timeout(DEADLINE, self.socket.next()).await?;
            match message.ok_or("the socket is gone")?? {
                Message::Binary(frame) => {
                    self.received += frame.len();
                    self.input(Input::Frame(&frame)).await?;
                }
                Message::Ping(_) => {}
                other => return Err(format!("{other:?}").into()),
            }
        }
        Ok(())
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now { unix: UnixMillis(unix as u64), steady_ms: self.started.elapsed().as_millis() as u64 }
    }

    async fn input(&mut self, input: Input<'_>) -> Result<(), Gone> {
        let outputs = self.client.handle(self.now(), input);
        self.carry_out(outputs).await
    }

    async fn carry_out(&mut self, outputs: Vec<Output>) -> Result<(), Gone> {
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Connect => {
                    outputs.extend(self.client.handle(self.now(), Input::Opened(String::new())));
                }
                Output::Send(frame) => {
                    self.sent += frame.len();
                    self.socket.send(Message::Binary(frame.into())).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
