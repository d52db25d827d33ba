//! A connection between a device and the server that loses, repeats and reorders frames, and that each
//! side learns about on its own.

use omega_sync_core::id::Random;
use std::collections::VecDeque;

/// How often things go wrong, each in 1,000.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// A frame vanishes.
    pub loss: u64,
    /// A frame comes twice.
    pub duplicate: u64,
    /// A frame overtakes the one before.
    pub reorder: u64,
    /// What a device sent before it hung up is held back, per chance to arrive.
    pub late: u64,
    /// A connection breaks, per step.
    pub cut: u64,
    /// A device loses power, per step.
    pub device_crash: u64,
    /// The server is killed, per step.
    pub server_crash: u64,
    /// The server's disk fails a commit.
    pub store_failure: u64,
    /// A device's wall clock jumps, per step.
    pub clock_jump: u64,
    /// A device loses or regains the network, per step.
    pub partition: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        loss: 0,
        duplicate: 0,
        reorder: 0,
        late: 0,
        cut: 0,
        device_crash: 0,
        server_crash: 0,
        store_failure: 0,
        clock_jump: 0,
        partition: 0,
    };

    /// Everything goes wrong, much more often than at home.
    pub const ALL: Self = Self {
        loss: 20,
        duplicate: 20,
        reorder: 20,
        late: 900,
        cut: 10,
        device_crash: 8,
        server_crash: 4,
        store_failure: 10,
        clock_jump: 5,
        partition: 15,
    };
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Pipe {
    frames: VecDeque<Vec<u8>>,
}

impl Pipe {
    /// Puts a frame on its way, or not, or twice, or before its predecessor.
    pub fn push(&mut self, frame: Vec<u8>, faults: &Faults, random: &mut Random) {
        let mut hits = |chance: u64| random.up_to(999) < chance;
        if hits(faults.loss) {
            return;
        }
        if hits(faults.duplicate) {
            self.frames.push_back(frame.clone());
        }
        let overtakes = hits(faults.reorder);
        self.frames.push_back(frame);
        let length = self.frames.len();
        if overtakes && length > 1 {
            self.frames.swap(length - 1, length - 2);
        }
    }

    /// The next frame to arrive.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// A connection. Each side closes its end on its own.
#[derive(Debug, Default)]
pub struct Link {
    /// From the device.
    pub up: Pipe,
    /// From the server.
    pub down: Pipe,
    /// Whether the device still listens.
    pub device_open: bool,
    /// Whether the server still listens.
    pub server_open: bool,
    /// The server's last word, delivered after the frames.
    pub close_code: Option<u16>,
    /// Whether nothing gets through any more, without anybody being told.
    pub broken: bool,
    /// Whether the hello has reached the server.
    pub greeted: bool,
}
