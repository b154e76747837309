//! Which cores this process may use, and pinning a thread to one.

use std::io;
use std::mem;

/// The cores in the process's affinity mask, in ascending order.
///
/// # Errors
/// When the kernel does not tell.
pub fn available_cores() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is plain bits; all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is a valid cpu_set_t of the size given.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is below CPU_SETSIZE.
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect())
}

/// Pins the calling thread to one core.
///
/// # Errors
/// When the core does not exist or is outside the allowed set.
pub fn pin_to(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: as above; the index was checked against CPU_SETSIZE.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn pins_to_an_available_core_and_refuses_one_that_is_not_there() {
        let cores = super::available_cores().unwrap();
        assert!(!cores.is_empty());
        std::thread::spawn(move || {
            super::pin_to(cores[0]).unwrap();
            assert_eq!(super::available_cores().unwrap(), [cores[0]]);
            assert!(super::pin_to(100_000).is_err());
        })
        .join()
        .unwrap();
    }
}
