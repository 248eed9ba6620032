//! One binary, many instruction sets: the same loop compiled for AVX-512, AVX2 and the baseline, chosen at run time.
//!
//! The loops have a fixed number of lanes and multiply and add in one step only where they say so (`mul_add`), so every choice gives the
//! same bits.

use crate::scalar::Scalar;

/// Runs a loop over elements of `T`, compiled for the widest vectors this processor has where `T` is [`Scalar::VECTORISED`].
///
/// `f` must be a closure marked `#[inline(always)]`, as must be what it calls. Loops with exponentials of f32 belong in it: outside, each
/// multiplication and addition in one step may be a call.
#[inline(always)]
pub fn vectorised<T: Scalar, R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if T::VECTORISED {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl");
        if wide && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            return unsafe { avx512(f) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            return unsafe { avx2(f) };
        }
    }
    f()
}

/// Asks memory for what lies a page after this place, because processors look ahead within a page only. Nothing need be there.
#[inline(always)]
pub fn ask_a_page_ahead<T>(place: *const T) {
    const PAGE: usize = 1 << 12;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, which may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>().wrapping_add(PAGE)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
unsafe fn avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}
