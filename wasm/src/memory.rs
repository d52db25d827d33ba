//! Copying and filling of memory, for which the oldest engines have no instruction.
//!
//! WebAssembly reads and writes eight bytes at any address, which the compiler's own functions don't
//! count on: these are a fifth as long.

/// What is moved at once, in bytes.
const WORD: usize = size_of::<u64>();

/// Moves bytes up to the last one, from the first on.
///
/// # Safety
///
/// `length` bytes may be read at `from` and written at `to`, which lies below it, or not among them.
#[inline(never)]
unsafe fn ascending(to: *mut u8, from: *const u8, length: usize) {
    let mut at = 0;
    // SAFETY: both loops end within the length.
    unsafe {
        while length - at >= WORD {
            let word = from.add(at).cast::<u64>().read_unaligned();
            to.add(at).cast::<u64>().write_unaligned(word);
            at += WORD;
        }
        while at < length {
            to.add(at).write(from.add(at).read());
            at += 1;
        }
    }
}

/// Moves bytes down to the first one, from the last on.
///
/// # Safety
///
/// As of [`ascending`], but `to` lies above `from`.
#[inline(never)]
unsafe fn descending(to: *mut u8, from: *const u8, mut length: usize) {
    // SAFETY: both loops end within the length.
    unsafe {
        while length >= WORD {
            length -= WORD;
            let word = from.add(length).cast::<u64>().read_unaligned();
            to.add(length).cast::<u64>().write_unaligned(word);
        }
        while length > 0 {
            length -= 1;
            to.add(length).write(from.add(length).read());
        }
    }
}

/// C's function, which compiled code calls.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract: they do not overlap.
    unsafe { ascending(to, from, length) };
    to
}

/// C's function, which compiled code calls.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract, and the order that overlapping places need.
    unsafe {
        match to.addr() < from.addr() {
            true => ascending(to, from, length),
            false => descending(to, from, length),
        }
    }
    to
}

/// C's function, which compiled code calls.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let byte = byte as u8;
    let mut at = 0;
    // SAFETY: both loops end within the length, which may be written.
    unsafe {
        while length - at >= WORD {
            to.add(at).cast::<u64>().write_unaligned(u64::from_ne_bytes([byte; WORD]));
            at += WORD;
        }
        while at < length {
            to.add(at).write(byte);
            at += 1;
        }
    }
    to
}
