//! Matrix products of f32, C ← A·B + C, by packed panels and a micro-kernel for each set of instructions.
//!
//! The idea: a product reads each number of A and of B many times, and memory is too slow for that. So:
//! 1. The product is cut into blocks that fit in the caches.
//! 2. Each block is copied, or *packed*, in the order in which it will be read.
//! 3. The innermost loop, the *micro-kernel*, keeps a tile of C in registers.
//!
//! This is the algorithm of BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", 2015). The
//! readable twin is the triple sum of [`Reference`](crate::Reference).
//!
//! Words used below:
//! * A **line** is a row of A or a column of B: k numbers. Both operands are treated alike, as lines.
//! * A **panel** is the lines that the micro-kernel takes at a time: MR rows of A or NR columns of B.
//! * The **shared** operand is the one with fewer lines. It is packed once, by all threads. The other is each task's **own**.
//!
//! # The loop nest
//!
//! Loops bear the numbers of the BLIS paper, counted from the micro-kernel outwards. BLIS fixes which operand each loop cuts; here loops 5
//! and 3 cut the shared and the own operand. The code is `loop_nest.rs`.
//!
//! ```text
//! loop 4a  for k_part in 0..k, by blocks of k while the packed shared operand fits in L2:
//!              pack shared[all lines, k_part]                             on all threads
//! loop 5       for shared_lines in shared:                               ┐ a task each,
//! loop 3a          for own_lines in own:                                 ┘ on all threads
//! loop 3b              for own_block in own_lines, a part of L2 at a time:
//! loop 4b                  for k_block in k_part, DEPTH (KC) at a time:
//!                              pack own[own_block, k_block]               on this thread
//! loop 2                       for rows in the panels of A:
//! loop 1                           for columns in the panels of B:
//!                                      micro-kernel:
//! loop 0                               for p in k_block, STEP at a time:
//!                                          tile += A[rows, p]·B[p, columns]
//!                                      C[rows, columns] += tile
//! ```
//!
//! # The bits
//!
//! Every element is a sum over equal blocks of k of at most [`Kernel::DEPTH`](kernel::Kernel::DEPTH), each in the order of k, wherever the
//! tasks are cut. So the bits are the same on any number of threads, and for AVX-512 and AVX2. AMX and AVX512-BF16 group the terms of a sum
//! each in its own way. Beyond [`STREAMED_ROWS`](matrix::STREAMED_ROWS) rows, a row of the result does not depend on how many others
//! there are.
//!
//! # The tricks
//!
//! Each item ends with what the trick was measured to be worth; × 0.9 is a tenth less time. `benches/README.md` has the machines and the
//! rest of the log.
//!
//! *What is packed, and when*
//! * **The operand with fewer lines is packed once, the other by the tasks.** A task multiplies what it has packed while that is in its L2.
//!   260 to 300 GFLOP/s for gpt2s' products, and 190 to 220 with B packed for all and A by each task.
//! * **The shared operand is packed 1 MiB at a time** (loop 4a), so that it is still in L2 when the last task reads it: × 0.83 to 0.91 for
//!   k of 2048 and more.
//! * **Shared lines are cut only for want of tasks** (loop 5), because each of the tasks with the same own lines packs them: × 0.83 to 0.91
//!   for hidden̄ of the vocabulary.
//! * **Panels of A outside, panels of B inside** (loops 2 and 1): tiles of C follow its rows: × 0.83 to 1.05.
//! * **Long sums are cut along k** (`split_k.rs`). A small result has few tasks. Here each forms all of C for its block of k, from rows
//!   that its thread has made itself: a step of micro × 0.9, of nano × 0.95.
//! * **Products that share an operand are one product** ([`multiply::parallel_batch`]), so that it is packed once. An operand may be
//!   several matrices one after another, each from the start of a panel on: queries, keys and values, or gate and up: a step × 0.95 to
//!   0.98.
//! * **Columns are packed once for many products** ([`prepacked`]), such as weights that tasks apply to 32 rows at a time: feed-forward
//!   layers × 0.78 to 0.98.
//! * **The next block is packed in the background** (`pack_ahead.rs`), a piece after each step of the micro-kernel. AMX leaves the core
//!   idle between its products: × 0.83 to 1.01.
//!
//! *What is not packed*
//! * **A is read in place** where its strides suit the cache, and a packed A would be read by one task only: nano × 0.94, micro × 0.96,
//!   with the squares below.
//! * **A large Bᵀ is read in place, once, by products of few rows** (`few_rows.rs`), as in generating text.
//! * **B is read in place** by products in one thread that are at most a few panels wide, as attention's are: part of × 0.67 to 0.86 for
//!   attention.
//!
//! *How it is packed*
//! * **Contiguous lines are packed by transposing squares in registers**: measured with A in place.
//! * **Interleaved lines are packed band by band of k** ([`Kernel::BAND`](kernel::Kernel::BAND)), so that a row of memory is read once for
//!   all panels: × 0.87 to 0.97 in f32. In bfloat16 bands are slower, and it has none.
//! * **Numbers are prefetched while others are packed**: × 0.91 to 0.95 in bfloat16, and a layer of 768 × 3072 decodes a token in 450
//!   instead of 600 µs.
//! * **AVX2 stores whole vectors**, because masked stores are slow on some processors: part of × 0.82 to 0.94 for attention.
//!
//! *In the micro-kernel*
//! * **f32 by AMX, in three parts of bfloat16** (`kernels/amx_f32`), where k and n are large enough: 380 to 530 GFLOP/s instead of 290 to
//!   330.
//! * **C is prefetched while its sums are formed** (AMX): × 0.83 to 0.93 for logits and their weight̄.
//! * **The next step is prefetched, and AMX tiles are loaded between products**: 300 GFLOP/s a core instead of 265.
//! * **AMX is set up once for a block** (`Kernel::begin`), not for each tile of C: × 0.8 to 0.97.
//! * **A narrow result has a micro-kernel of its own**, one vector wide instead of two (f32): heads of 16 columns would compute 32. Not
//!   measured alone.
//!
//! Processors with none of the instructions use the `matrixmultiply` crate.

#[cfg(target_arch = "x86_64")]
pub mod few_rows;
#[cfg(target_arch = "x86_64")]
pub mod instructions;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod kernels;
#[cfg(target_arch = "x86_64")]
mod loop_nest;
pub mod matrix;
#[cfg(target_arch = "x86_64")]
pub mod multiply;
#[cfg(target_arch = "x86_64")]
mod operand;
#[cfg(target_arch = "x86_64")]
mod pack_ahead;
#[cfg(target_arch = "x86_64")]
pub mod prepacked;
#[cfg(not(target_arch = "x86_64"))]
pub mod prepacked {
    //! No kernel packs columns on other processors.

    /// Columns that no kernel has packed.
    pub enum Prepacked {}
    impl Prepacked {
        /// Rows of A that the micro-kernel takes at a time.
        pub fn panel_rows(&self) -> usize {
            match *self {}
        }
    }
}
#[cfg(target_arch = "x86_64")]
mod split_k;
pub mod stored;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
