//! Asking the processor for memory that will be needed soon.

/// A cache line of the processors that RingMQ runs on.
const LINE_BYTES: usize = 64;

/// Begins to load what `wanted` refers to into the processor's caches and returns at once. Worth it where a miss (some 100 ns) would
/// otherwise be waited for and there is other work to do first. Does nothing on processors other than x86-64.
#[inline]
pub fn prefetch<T>(wanted: &T) {
    let start = std::ptr::from_ref(wanted).cast::<i8>();
    for at in (0..size_of::<T>()).step_by(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint that reads nothing into the program; the address lies inside `wanted`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(at)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (start, at);
    }
}
