//! A program's end where there is no memory left: one line that says so, in place of the standard library's abort.

use crate::{CacheAligned, OUT_OF_MEMORY};
use std::alloc::{GlobalAlloc, Layout};
use std::io::Write;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

/// [`CacheAligned`] for a program that should end with a message and exit code 1 where memory runs out. `advice` follows the message.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: engine::out_of_memory::SystemOrExit = engine::out_of_memory::SystemOrExit { advice: "take a smaller batch" };
/// let zeros = vec![0.0_f32; 1000];
/// assert_eq!(zeros.len(), 1000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemOrExit {
    /// What makes the program need less.
    pub advice: &'static str,
}

impl SystemOrExit {
    fn or_exit(&self, address: *mut u8, bytes: usize) -> *mut u8 {
        if address.is_null() {
            self.exit(bytes);
        }
        address
    }

    /// Says what happened from a buffer on the stack and ends the process; what is met on the way and needs memory aborts.
    fn exit(&self, bytes: usize) -> ! {
        static ENDING: AtomicBool = AtomicBool::new(false);
        if ENDING.swap(true, Ordering::SeqCst) {
            process::abort();
        }
        let mut line = [0_u8; 512];
        let mut rest = line.as_mut_slice();
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        let _ = writeln!(rest, "error: {OUT_OF_MEMORY}: {mebibytes:.1} MiB more cannot be had: {}", self.advice);
        let unused = rest.len();
        let used = line.len() - unused;
        let _ = std::io::stderr().write_all(&line[..used]);
        process::exit(1)
    }
}

/// Lets all threads allocate from one heap. Call it first thing where addresses are scarce (`ulimit -v`).
///
/// glibc reserves 64 MiB of addresses for the heap of each thread. Where it cannot, it maps and unmaps memory for every block, which
/// makes small computations several times slower. Other C libraries have nothing to set.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        const M_ARENA_MAX: std::ffi::c_int = -8;
        // SAFETY: the function has this signature in glibc's malloc.h, and may be called at any time.
        unsafe { mallopt(M_ARENA_MAX, 1) };
    }
}

// SAFETY: every call goes to the other allocator unchanged, and what it returns comes back unchanged unless it is null.
unsafe impl GlobalAlloc for SystemOrExit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the other allocator asks for.
        self.or_exit(unsafe { CacheAligned.alloc(layout) }, layout.size())
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.or_exit(unsafe { CacheAligned.alloc_zeroed(layout) }, layout.size())
    }
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; `address` came from the other allocator.
        self.or_exit(unsafe { CacheAligned.realloc(address, layout, size) }, size)
    }
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { CacheAligned.dealloc(address, layout) }
    }
}
