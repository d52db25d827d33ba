//! The functions that the module exports, by which JavaScript owns what it makes until it frees it.
//!
//! Numbers cross as they are. The values of a call are put into room that was asked for just before; what
//! comes back is [`Address`] of an answer. Nobody calls into the module in the middle of another call.

use crate::Replica;
use crate::answer::Address;
use crate::call::Values;
#[cfg(feature = "patterns")]
use crate::taste::Taste;
use core::cell::Cell;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::replica::Now;

/// Where the values of the next call are.
struct Room(Cell<Vec<u8>>);

// SAFETY: the module has no threads, see `allocator`.
unsafe impl Sync for Room {}

static ROOM: Room = Room(Cell::new(Vec::new()));

/// Room for so many bytes of values, until the next call.
#[unsafe(no_mangle)]
extern "C" fn room(length: usize) -> *mut u8 {
    let mut values = Vec::with_capacity(length);
    let at = values.as_mut_ptr();
    ROOM.0.set(values);
    at
}

/// The values that were put there.
fn values(length: usize) -> Vec<u8> {
    let mut values = ROOM.0.take();
    // SAFETY: JavaScript has written them, and there is room for no more.
    unsafe { values.set_len(length.min(values.capacity())) };
    values
}

/// The bytes of four words of entropy.
fn seed(words: [u32; 4]) -> [u8; 16] {
    let mut seed = [0; 16];
    for (bytes, word) in seed.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    seed
}

/// Both clocks; anything that is no time counts as zero.
fn now(unix_ms: f64, steady_ms: f64) -> Now {
    Now { unix: UnixMillis(unix_ms as u64), steady_ms: steady_ms as u64 }
}

#[unsafe(no_mangle)]
extern "C" fn replica_new(a: u32, b: u32, c: u32, d: u32) -> Box<Replica> {
    Box::new(Replica::new(seed([a, b, c, d])))
}

#[unsafe(no_mangle)]
extern "C" fn replica_call(
    replica: Option<&mut Replica>,
    call: u8,
    length: usize,
    unix_ms: f64,
    steady_ms: f64,
) -> Address {
    let values = values(length);
    let replica = replica.expect("not freed yet");
    replica.call(call, Values(&values), now(unix_ms, steady_ms))
}

#[unsafe(no_mangle)]
extern "C" fn replica_free(replica: Option<Box<Replica>>) {
    drop(replica);
}

#[cfg(feature = "patterns")]
#[unsafe(no_mangle)]
extern "C" fn taste_new(a: u32, b: u32, c: u32, d: u32) -> Box<Taste> {
    Box::new(Taste::new(seed([a, b, c, d])))
}

#[cfg(feature = "patterns")]
#[unsafe(no_mangle)]
extern "C" fn taste_call(
    taste: Option<&mut Taste>,
    call: u8,
    length: usize,
    unix_ms: f64,
    steady_ms: f64,
) -> Address {
    let values = values(length);
    let taste = taste.expect("not freed yet");
    taste.call(call, Values(&values), now(unix_ms, steady_ms))
}

#[cfg(feature = "patterns")]
#[unsafe(no_mangle)]
extern "C" fn taste_free(taste: Option<Box<Taste>>) {
    drop(taste);
}
