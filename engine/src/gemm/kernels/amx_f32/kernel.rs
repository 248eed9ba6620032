//! The micro-kernel for products in three parts.
//!
//! The 24 products of AMX tiles in a step take their unit 384 cycles. The core has room for about a hundred other vector instructions in
//! that time, so that a piece of background work after each step costs little.

use super::packing::{PANEL, PARTS};
use crate::gemm::kernel::{Background, Tile};
use crate::gemm::kernels::pack_bf16::Pairs;
use std::arch::asm;

/// Loads a half of a part of A or B into a tile.
macro_rules! load {
    (a $tile:literal $part:literal $half:literal) => {
        concat!("tileloadd tmm", $tile, ", [{a} + {a_stride}*1 + 2048*(", $part, "-1) + 1024*", $half, "]\n")
    };
    (b $tile:literal $part:literal $half:literal) => {
        concat!("tileloadd tmm", $tile, ", [{b} + {b_stride}*1 + 2048*(", $part, "-1) + 64*", $half, "]\n")
    };
}

/// Prefetches a quarter of a part of A or B of the next step: eight cache lines.
macro_rules! prefetch {
    ($base:literal $part:literal $quarter:literal) => { prefetch!($base $part $quarter, 0 1 2 3 4 5 6 7) };
    ($base:literal $part:literal $quarter:literal, $($line:literal)*) => {
        concat!($("prefetcht0 [{", $base, "} + 6144 + 2048*(", $part, "-1) + 512*", $quarter, " + 64*", $line, "]\n"),*)
    };
}

/// The product of two tiles, added to a tile of sums.
macro_rules! product {
    (0) => {
        "tdpbf16ps tmm0, tmm4, tmm6\n"
    };
    (1) => {
        "tdpbf16ps tmm1, tmm4, tmm7\n"
    };
    (2) => {
        "tdpbf16ps tmm2, tmm5, tmm6\n"
    };
    (3) => {
        "tdpbf16ps tmm3, tmm5, tmm7\n"
    };
}

/// The four products of a part of A and one of B. Each half of the next part is loaded as soon as the last product that reads its tile has
/// begun, and a part of the next step is prefetched.
macro_rules! products {
    (then b $part:literal, $base:literal $next:literal) => {
        concat!(
            product!(0), prefetch!($base $next 0), product!(2), load!(b 6 $part 0), prefetch!($base $next 1),
            product!(1), prefetch!($base $next 2), product!(3), load!(b 7 $part 1), prefetch!($base $next 3),
        )
    };
    (then a $part:literal, $base:literal $next:literal) => {
        concat!(
            product!(0), prefetch!($base $next 0), product!(1), load!(a 4 $part 0), prefetch!($base $next 1),
            product!(2), prefetch!($base $next 2), product!(3), load!(a 5 $part 1), prefetch!($base $next 3),
        )
    };
    ($base:literal $next:literal) => {
        concat!(
            product!(0), prefetch!($base $next 0), product!(1), prefetch!($base $next 1),
            product!(2), prefetch!($base $next 2), product!(3), prefetch!($base $next 3),
        )
    };
}

/// Tile instructions on the operands. The comment in the assembly uses those operands that the instructions do not. No compiled code uses
/// tiles, nor does background work: tiles keep their contents from one block of assembly to the next.
macro_rules! with_tiles {
    ($tile:ident, $($code:expr),*) => {
        asm!(
            $($code,)*
            "/* {a} {b} {a_stride} {b_stride} */",
            a = in(reg) $tile.a,
            b = in(reg) $tile.b,
            a_stride = in(reg) 64usize,
            b_stride = in(reg) 128usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// Tiles 0 to 3 hold the sums, 4 and 5 the upper and lower rows of a part of A, 6 and 7 the left and right columns of a part of B. A step
/// adds a₁b₃, a₁b₂, a₂b₂, a₂b₁, a₃b₁ and a₁b₁, in this order, which changes one part at a time.
///
/// # Safety
/// As [`Kernel::multiply_tile`](crate::gemm::kernel::Kernel::multiply_tile) of whole panels, without reading the old elements of C.
#[inline(always)]
pub unsafe fn kernel(mut tile: Tile<Pairs>, background: &mut impl Background) {
    // SAFETY: the caller's promise; what is prefetched need not exist. The tiles' shapes are set, and their contents are not needed after
    // the end.
    unsafe {
        with_tiles!(tile, "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3");
        for _ in 0..tile.steps {
            with_tiles!(tile, load!(a 4 1 0), load!(b 6 3 0), load!(a 5 1 1), load!(b 7 3 1), products!(then b 2, "a" 1));
            with_tiles!(tile, products!(then a 2, "a" 2), products!(then b 1, "a" 3), products!(then a 3, "b" 1));
            with_tiles!(tile, products!(then a 1, "b" 2), products!("b" 3));
            background.run_piece();
            (tile.a, tile.b) = (tile.a.wrapping_add(PARTS * PANEL), tile.b.wrapping_add(PARTS * PANEL));
        }
        asm!(
            "tilestored [{upper} + {stride}*1], tmm0",
            "tilestored [{upper} + {stride}*1 + 64], tmm1",
            "tilestored [{lower} + {stride}*1], tmm2",
            "tilestored [{lower} + {stride}*1 + 64], tmm3",
            upper = in(reg) tile.c,
            lower = in(reg) tile.c.wrapping_add(16 * tile.c_stride),
            stride = in(reg) tile.c_stride * size_of::<f32>(),
            options(nostack),
        );
    }
}
