//! A growing access log, of which only the number of lines matters.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::interrupt;

/// The access log of a running proxy.
#[derive(Debug)]
pub struct AccessLog {
    file: File,
    lines: u64,
}

impl AccessLog {
    /// Empties it; its writer, which appends, goes on at its new end.
    ///
    /// # Errors
    /// When it is not there.
    pub fn emptied(path: &Path) -> Result<AccessLog> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.and_then(|file| file.set_len(0).map(|()| file));
        Ok(AccessLog {
            file: file.map_err(|error| Fault::io("empty the access log", &error))?,
            lines: 0,
        })
    }

    /// Its lines once there are `least` and no more come, or patience ends.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn settled(&mut self, least: u64) -> Result<u64> {
        let mut quiet = 0;
        interrupt::wait(SETTLE_MAX, || {
            let before = self.lines;
            self.count()
                .map_err(|error| Fault::io("read the access log", &error))?;
            quiet = match self.lines == before {
                true => quiet + 1,
                false => 0,
            };
            interrupt::pause(SETTLE_STEP)?;
            Ok((self.lines >= least && quiet >= QUIET_STEPS).then_some(()))
        })?;
        Ok(self.lines)
    }

    fn count(&mut self) -> std::io::Result<()> {
        let mut block = vec![0; 256 * 1024];
        loop {
            match self.file.read(&mut block)? {
                0 => return Ok(()),
                length => {
                    let ends = block[..length].iter().filter(|byte| **byte == b'\n');
                    self.lines += ends.count() as u64;
                }
            }
        }
    }
}

const SETTLE_MAX: Duration = Duration::from_secs(10);
const SETTLE_STEP: Duration = Duration::from_millis(50);
/// As many lines as requests are there already; one that comes later would be one too many.
const QUIET_STEPS: u32 = 4;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_is_counted_as_it_grows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = OpenOptions::new().append(true).open(file.path()).unwrap();
        writer.write_all(b"old\nlines\n").unwrap();
        let mut log = AccessLog::emptied(file.path()).unwrap();
        writer.write_all(b"one\ntwo\nthr").unwrap();
        log.count().unwrap();
        assert_eq!(log.lines, 2);
        writer.write_all(b"ee\n").unwrap();
        log.count().unwrap();
        assert_eq!(log.lines, 3);
    }
}
