//! The allocator of the wasm module: freed blocks wait by size, new ones are cut from the end of memory.
//!
//! An operation takes and gives back a dozen blocks. A freed one waits in the list of its class for the
//! next; blocks are neither joined nor split. So what one size once took stays its own, which is bounded
//! by the bounds of the state, and memory that does not grow in a while never grows by doing the same.
//!
//! Invariant: a block in a list, and what lies beyond [`Allocator::end`], belong to nobody else, are
//! aligned to [`STEP`] and, in a list, of their class's size.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;
use core::ptr::{copy_nonoverlapping, null_mut};

#[cfg(shipped)]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Tells JavaScript that its views of the memory are stale. It can't find out by itself on Chromium
    /// 64, whose compiler takes the length of a view for constant. The package has it
    /// (`pkg/src/engine.ts`), tests have not.
    safe fn grown();
}

#[cfg(not(shipped))]
fn grown() {}

/// Sizes are rounded up to this at least, which is also their alignment, in bytes: nothing asks for more.
const STEP: usize = 16;
/// Up to so many bytes sizes are rounded to [`STEP`]; beyond, each doubling has four classes.
const SMALL_MAX: usize = 8 * STEP;
/// For every size that a `Layout` can have.
const CLASSES: usize = 104;
const PAGE: usize = 65_536;

/// A freed block holds the address of the next one of its class.
type Link = *mut u8;

/// See the module's documentation.
pub struct Allocator {
    freed: [Cell<Link>; CLASSES],
    /// Where the memory that was never used begins; null before the first block.
    end: Cell<Link>,
}

// SAFETY: the module has no threads.
unsafe impl Sync for Allocator {}

/// The class of a size, and the size of its blocks.
fn class(size: usize) -> (usize, usize) {
    let last = size.saturating_sub(1);
    let doubling = (last | SMALL_MAX / 2).ilog2();
    let shift = doubling - 2;
    let steps = last >> shift;
    let before = (doubling - (SMALL_MAX / 2).ilog2()) as usize * 4;
    (before + steps, (steps + 1) << shift)
}

unsafe extern "C" {
    /// Where the linker's own data ends.
    static __heap_base: u8;
}

impl Allocator {
    /// One that holds nothing yet.
    pub const fn new() -> Self {
        Self { freed: [const { Cell::new(null_mut()) }; CLASSES], end: Cell::new(null_mut()) }
    }

    /// A block that was never used; null when there is no more memory.
    fn cut(&self, size: usize) -> *mut u8 {
        let block = match self.end.get() {
            start if start.is_null() => (&raw const __heap_base).cast_mut(),
            end => end,
        };
        let end = block.addr().saturating_add(size);
        let there = memory_size::<0>() * PAGE;
        if end > there {
            if memory_grow::<0>((end - there).div_ceil(PAGE)) == usize::MAX {
                return null_mut();
            }
            grown();
        }
        self.end.set(block.wrapping_add(size));
        block
    }
}

// SAFETY: blocks of lists do not overlap, see the invariant.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > STEP {
            return null_mut();
        }
        let (class, size) = class(layout.size());
        let list = &self.freed[class];
        let block = list.get();
        if block.is_null() {
            return self.cut(size);
        }
        // SAFETY: a block in a list begins with the address of the next one.
        list.set(unsafe { block.cast::<Link>().read() });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let list = &self.freed[class(layout.size()).0];
        // SAFETY: the caller gives back what `alloc` gave for this layout: it is nobody else's, aligned
        // and has room for an address.
        unsafe { block.cast::<Link>().write(list.get()) };
        list.set(block);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if class(layout.size()) == class(size) {
            return block;
        }
        // SAFETY: the caller's contract: such a layout exists, and both blocks are at least as long as
        // what is copied, and differ.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
