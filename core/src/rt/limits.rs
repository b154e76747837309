//! The process's limit on open descriptors.

use std::io;
use std::mem::MaybeUninit;

/// Raises the soft limit on open descriptors to the hard one; returns the limit in force.
///
/// # Errors
/// When the kernel does not tell the limits or does not let them be raised.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limits = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel writes a whole rlimit when it returns 0.
    let limits = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, limits.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        limits.assume_init()
    };
    let raised = libc::rlimit {
        rlim_cur: limits.rlim_max,
        ..limits
    };
    // SAFETY: `raised` is a valid rlimit for the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(raised.rlim_cur)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let raised = super::raise_descriptor_limit().unwrap();
        assert!(raised > 0);
        assert_eq!(super::raise_descriptor_limit().unwrap(), raised);
    }
}
