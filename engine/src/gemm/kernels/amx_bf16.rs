//! The kernel with AMX, for operands rounded to bfloat16: two by two AMX tiles of 16 × 16 sums, from two tiles of A and two of B.

use super::avx512_bf16::Avx512Bf16;
use super::pack_bf16::{self, Pairs};
use crate::gemm::kernel::{Kernel, Side, Tile};
use crate::gemm::matrix::Matrix;
use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
use std::sync::LazyLock;

/// AMX on operands rounded to bfloat16.
pub struct AmxBf16;

impl Kernel for AmxBf16 {
    type Unit = Pairs;
    const ROWS: usize = 32;
    const COLUMNS: usize = pack_bf16::COLUMNS;
    const STEP: usize = pack_bf16::STEP;
    const DEPTH: usize = pack_bf16::DEPTH;
    const BAND: usize = pack_bf16::DEPTH;
    const TASK_WORK: usize = pack_bf16::TASK_WORK;
    const SUMS_FROM_ZERO: bool = false;
    type PackState = ();

    #[inline]
    fn is_available() -> bool {
        static AVAILABLE: LazyLock<bool> = LazyLock::new(|| Avx512Bf16::is_available() && has_tiles() && may_use_tiles());
        *AVAILABLE
    }
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs]) {
        // SAFETY: the caller's promise.
        unsafe { pack_bf16::pack::<Self>(side, lines, extents, packed) }
    }
    unsafe fn begin() {
        // SAFETY: the caller's promise; nothing else in the thread uses tiles until the end.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack)) }
    }
    unsafe fn end() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tilerelease", options(nostack)) }
    }
    unsafe fn multiply_tile(extents: (usize, usize), tile: Tile<Pairs>) {
        // SAFETY: the caller's promise.
        unsafe { pack_bf16::multiply_whole_panels::<Self>(extents, tile, kernel) }
    }
}

/// True if the processor has tiles and their products of bfloat16. (Intel's manual, volume 2, CPUID leaf 7: bits 22 and 24 of EDX.)
fn has_tiles() -> bool {
    let needed = 1 << 22 | 1 << 24;
    // SAFETY: every processor with AVX-512 has CPUID and this leaf. (Newer versions of Rust call it safe.)
    #[allow(unused_unsafe)]
    let found = unsafe { std::arch::x86_64::__cpuid_count(7, 0).edx };
    found & needed == needed
}

/// Asks Linux for the tiles' registers (arch_prctl of ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA), once for the process.
#[cfg(all(target_os = "linux", not(miri)))]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: this call reads no memory of the process; the kernel changes rcx and r11 beside the result.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        )
    };
    result == 0
}
#[cfg(not(all(target_os = "linux", not(miri))))]
fn may_use_tiles() -> bool {
    false
}

/// What LDTILECFG reads: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}
static SHAPES: Shapes = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        (row_bytes[tile], rows[tile]) = (64, 16);
        tile += 1;
    }
    Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// Prefetches the elements of C, so that they are in the cache when the sums are formed.
pub fn prefetch_c(tile: Tile<Pairs>) {
    for row in 0..AmxBf16::ROWS {
        let c = tile.c.wrapping_add(row * tile.c_stride);
        // SAFETY: what is prefetched need not exist.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(c.cast());
            _mm_prefetch::<_MM_HINT_ET0>(c.wrapping_add(16).cast());
        }
    }
}

/// The micro-kernel. Tiles 0 to 3 hold the sums, 4 and 5 the upper and lower rows of A, 6 and 7 the left and right columns of B.
///
/// # Safety
/// As [`Kernel::multiply_tile`], of whole panels.
unsafe fn kernel(tile: Tile<Pairs>) {
    let stride = tile.c_stride * size_of::<f32>();
    if !tile.accumulate {
        prefetch_c(tile);
    }
    // SAFETY: the caller's promise. The tiles' shapes are set, and their contents are not needed afterwards.
    unsafe {
        asm!(
            "test {accumulate}, {accumulate}",
            "jz 3f",
            "tileloadd tmm0, [{upper} + {stride}*1]",
            "tileloadd tmm1, [{upper} + {stride}*1 + 64]",
            "tileloadd tmm2, [{lower} + {stride}*1]",
            "tileloadd tmm3, [{lower} + {stride}*1 + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}*1]",
            "tileloadd tmm6, [{b} + {b_stride}*1]",
            "tileloadd tmm7, [{b} + {b_stride}*1 + 64]",
            "tileloadd tmm5, [{a} + {a_stride}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{upper} + {stride}*1], tmm0",
            "tilestored [{upper} + {stride}*1 + 64], tmm1",
            "tilestored [{lower} + {stride}*1], tmm2",
            "tilestored [{lower} + {stride}*1 + 64], tmm3",
            accumulate = in(reg) usize::from(tile.accumulate),
            upper = in(reg) tile.c,
            lower = in(reg) tile.c.wrapping_add(16 * tile.c_stride),
            stride = in(reg) stride,
            a = inout(reg) tile.a => _,
            b = inout(reg) tile.b => _,
            a_stride = in(reg) 64usize,
            b_stride = in(reg) 128usize,
            steps = inout(reg) tile.steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
