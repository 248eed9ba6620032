//! Matrix products of f32 on packed operands: one way of cutting and packing, and a kernel for each set of instructions, which keeps a block of
//! sums in registers. The readable twin is the triple sum of `Reference`; processors with none of the instructions use matrixmultiply.
//!
//! Both operands are seen as lines along k: the rows of A and the columns of B, in groups of as many as the kernel takes. The operand with
//! fewer lines is packed once for all tasks, part by part of k; each task packs its own lines of the other one, and multiplies them while they are
//! in its second-level cache. Where there are tasks enough, that one too goes through memory once. A kernel that leaves room for other instructions packs
//! what comes next meanwhile (`ahead.rs`).
//!
//! Small products in one thread read a B with contiguous rows where it lies, if the kernel may, and columns may be packed once for many products
//! (`prepacked.rs`).
//!
//! An operand may be several matrices one after another, each from the start of a group on, with an output each: products that share the other
//! operand are then one.
//!
//! Every element is Σ over equal blocks of k of at most [`Kernel::DEPTH`], each in the order of k, wherever the tasks are cut: the same bits on
//! any number of threads, and with AVX-512 as with AVX2, whose kernels are sums of fused multiply-adds. AMX and AVX512-BF16 group the terms of
//! a sum each in its own way, in bfloat16 and (AMX, see `split.rs`) in f32.

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
        /// Rows of A that the kernel takes at a time.
        pub fn rows_of_group(&self) -> usize {
            match *self {}
        }
    }
}
#[cfg(target_arch = "x86_64")]
mod split_k;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
