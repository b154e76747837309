//! Giving freed memory back to the kernel.

/// Returns what the allocator holds free to the kernel. It visits every thread's arena, so
/// it is for quiet moments and never for a worker: a thread that allocates meanwhile waits.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes the allocator's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
