//! A real client with its disk, and a socket that the target holds the other end of.

use crate::living::START;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::codec::DecodeError;
use omega_sync_core::operation::Intent;
use omega_sync_core::replica::Now;
use omega_sync_core::session::backoff::DELAY_MAX_MS;
use omega_sync_core::session::client::{Client, Input, Output, Status};

/// Where a device's random numbers start.
pub const SEED: [u8; 16] = [5; 16];
/// Time between two things that happen to a device, in milliseconds.
const STEP_MS: u64 = 500;

pub struct Device {
    pub client: Client,
    pub disk: Vec<Vec<u8>>,
    /// Frames that wait to be taken by the server.
    pub sent: Vec<Vec<u8>>,
    /// Whether its socket is open.
    pub connected: bool,
    wants_socket: bool,
    steady_ms: u64,
}

impl Device {
    /// Switches it on with what is on its disk.
    pub fn boot(disk: &[Vec<u8>], seed: [u8; 16]) -> Result<Self, DecodeError> {
        let opened = Client::load(disk, None, seed)?;
        let mut this = Self {
            client: opened.client,
            disk: disk.to_vec(),
            sent: Vec::new(),
            connected: false,
            wants_socket: false,
            steady_ms: 0,
        };
        let first = this.client.first_outputs();
        this.carry_out(first);
        Ok(this)
    }

    pub fn now(&self) -> Now {
        Now { unix: UnixMillis(START.0 + self.steady_ms), steady_ms: self.steady_ms }
    }

    pub fn operate(&mut self, intent: Intent) {
        if let Ok(outputs) = self.client.operate(self.now(), intent) {
            self.carry_out(outputs);
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.steady_ms += STEP_MS;
        let outputs = self.client.handle(self.now(), input);
        self.carry_out(outputs);
    }

    /// Opens a socket when it wants one, and wakes it when it waits for that; it says hello then.
    pub fn connect(&mut self) {
        match self.client.status() {
            Status::Offline => self.handle(Input::Online),
            _ if !self.connected && !self.wants_socket => {
                self.steady_ms += DELAY_MAX_MS;
                self.handle(Input::Woke);
            }
            _ => {}
        }
        if core::mem::take(&mut self.wants_socket) {
            self.connected = true;
            self.handle(Input::Opened(String::new()));
        }
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Append(record) => self.disk.push(record),
                Output::Replace(image) => self.disk = vec![image],
                Output::Send(frame) => self.sent.push(frame),
                Output::Connect => self.wants_socket = true,
                Output::Disconnect => {
                    self.connected = false;
                    self.sent.clear();
                }
                _ => {}
            }
        }
    }

    /// After a power cut everything is as it was.
    pub fn comes_back(&self) {
        let again = Client::load(&self.disk, None, SEED).expect("it wrote this version");
        assert_eq!(again.damage, None);
        assert_eq!(again.client.replica().image(), self.client.replica().image());
    }
}
