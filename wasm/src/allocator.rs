//! The allocator of the wasm module: small blocks by size, larger ones by talc.
//!
//! An operation takes and gives back a dozen small blocks. A freed one waits in the list of its size for
//! the next; new ones are cut from chunks. They are not joined again: what small things once took stays
//! theirs, which is bounded by the bounds of the state.
//!
//! Invariant: a block in a list, and the rest of the chunk, belong to nobody else, are aligned to
//! [`STEP`] and are of their class's size.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::null_mut;
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

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

/// Sizes are rounded up to this, which is also their alignment, in bytes.
const STEP: usize = 8;
/// The largest small block.
const SMALL_MAX: usize = 128;
const CLASSES: usize = SMALL_MAX / STEP;
/// What small blocks are cut from, in bytes.
const CHUNK: usize = 1_024;

/// A freed block holds the address of the next one of its size.
type Link = *mut u8;

/// See the module's documentation.
pub struct Allocator {
    freed: [Cell<Link>; CLASSES],
    chunk: Cell<Link>,
    left: Cell<usize>,
    large: WasmDynamicTalc,
    /// Of memory, when it was last looked at.
    pages: Cell<usize>,
}

// SAFETY: the module has no threads; `WasmDynamicTalc` refuses to compile where it could have.
unsafe impl Sync for Allocator {}

/// The class of a small block.
fn class(layout: Layout) -> Option<usize> {
    let small = layout.size() <= SMALL_MAX && layout.align() <= STEP && layout.size() > 0;
    small.then(|| (layout.size() - 1) / STEP)
}

impl Allocator {
    /// One that holds nothing yet.
    pub const fn new() -> Self {
        Self {
            freed: [const { Cell::new(null_mut()) }; CLASSES],
            chunk: Cell::new(null_mut()),
            left: Cell::new(0),
            large: new_wasm_dynamic_allocator(),
            pages: Cell::new(0),
        }
    }

    /// The same block, after JavaScript was told if memory has grown for it.
    fn told(&self, block: *mut u8) -> *mut u8 {
        let pages = core::arch::wasm32::memory_size::<0>();
        if self.pages.replace(pages) != pages {
            grown();
        }
        block
    }

    /// A block that was never used.
    fn cut(&self, class: usize) -> *mut u8 {
        let size = (class + 1) * STEP;
        let left = self.left.get();
        if let Some(left) = left.checked_sub(size) {
            let block = self.chunk.get();
            self.left.set(left);
            self.chunk.set(block.wrapping_add(size));
            return block;
        }
        if left > 0 {
            // SAFETY: what is left of a chunk is aligned and of the size of a smaller class.
            unsafe { self.put(left / STEP - 1, self.chunk.get()) };
        }
        self.left.set(0);
        // SAFETY: size and alignment are not zero, and the alignment is a power of two.
        let chunk = unsafe { self.large.alloc(Layout::from_size_align_unchecked(CHUNK, STEP)) };
        let chunk = self.told(chunk);
        if chunk.is_null() {
            return chunk;
        }
        self.chunk.set(chunk.wrapping_add(size));
        self.left.set(CHUNK - size);
        chunk
    }

    /// Puts a block into the list of its class.
    ///
    /// # Safety
    ///
    /// Nobody else has the block; it is aligned and of that class.
    unsafe fn put(&self, class: usize, block: *mut u8) {
        let list = &self.freed[class];
        // SAFETY: by the contract above the block has room for an aligned address.
        unsafe { block.cast::<Link>().write(list.get()) };
        list.set(block);
    }
}

// SAFETY: blocks of lists and chunks do not overlap, see the invariant; the rest is talc's word.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's contract.
            return self.told(unsafe { self.large.alloc(layout) });
        };
        let list = &self.freed[class];
        let block = list.get();
        if block.is_null() {
            return self.cut(class);
        }
        // SAFETY: a block in a list begins with the address of the next one.
        list.set(unsafe { block.cast::<Link>().read() });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            // SAFETY: the caller gives back what `alloc` gave for this layout.
            Some(class) => unsafe { self.put(class, block) },
            // SAFETY: the same.
            None => unsafe { self.large.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract: such a layout exists.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (before, after) = (class(layout), class(wanted));
        match (before, after) {
            (Some(before), Some(after)) if before == after => return block,
            (None, None) => {
                // SAFETY: the block came from there.
                return self.told(unsafe { self.large.realloc(block, layout, size) });
            }
            _ => {}
        }
        // SAFETY: both blocks are at least as long as what is copied, and differ.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
