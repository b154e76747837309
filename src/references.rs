//! What a configuration refers to: the environment, files, and what programs write.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringgate_config::{NotRun, References, VALUE_LEN_MAX};

/// Whether programs are run for their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// They are: the configuration is to be served from.
    Run,
    /// They are not: somebody only looks at the configuration.
    Leave,
}

impl Commands {
    /// By the flag `--run-commands`.
    pub fn asked(flag: bool) -> Commands {
        match flag {
            true => Commands::Run,
            false => Commands::Leave,
        }
    }
}

impl References for Commands {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn command(&self, words: &[&str]) -> Result<String, NotRun> {
        match (self, words) {
            (Commands::Run, [program, arguments @ ..]) => {
                run(program, arguments, COMMAND_TIME_MAX).map_err(NotRun::Failed)
            }
            _ => Err(NotRun::Unasked("to have it run: --run-commands")),
        }
    }
}

const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether a program that has closed its output has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// What a program writes to its output. What it writes to its error output is thrown away: it
/// could hold the secret. A program that leaves others behind holding its output is not waited
/// for beyond its time.
fn run(program: &str, arguments: &[&str], time_max: Duration) -> Result<String, String> {
    let ends = Instant::now() + time_max;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be run: {error}"))?;
    let result = output(&mut child, ends, time_max);
    if result.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn output(child: &mut Child, ends: Instant, time_max: Duration) -> Result<String, String> {
    let late = || format!("took longer than {} seconds", time_max.as_secs());
    let Some(pipe) = child.stdout.take() else {
        return Err("has no output".to_owned());
    };
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.take(VALUE_LEN_MAX as u64 + 1).read_to_end(&mut bytes);
        // Nobody waits any more when it took too long.
        let _ = send.send(read.map(|_| bytes));
    });
    let left = ends.saturating_duration_since(Instant::now());
    let bytes = receive
        .recv_timeout(left)
        .map_err(|_| late())?
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > VALUE_LEN_MAX {
        return Err(format!("wrote more than {} KiB", VALUE_LEN_MAX >> 10));
    }
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < ends => thread::sleep(PAUSE),
            Ok(None) => return Err(late()),
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    };
    match (status.success(), String::from_utf8(bytes)) {
        (false, _) => Err(format!("failed: {status}")),
        (true, Err(_)) => Err("wrote what is not UTF-8 text".to_owned()),
        (true, Ok(text)) if text.trim_ascii().is_empty() => Err("wrote nothing".to_owned()),
        (true, Ok(text)) => Ok(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn say(script: &str) -> Result<String, String> {
        run("sh", &["-c", script], COMMAND_TIME_MAX)
    }

    #[test]
    fn a_program_writes_a_value() {
        assert_eq!(say("echo secret").unwrap(), "secret\n");
    }

    #[test]
    fn what_goes_wrong_is_said_without_what_was_written() {
        for (script, why) in [
            (
                "echo s3cret; echo s3cret >&2; exit 3",
                "failed: exit status: 3",
            ),
            ("true", "wrote nothing"),
            ("printf '\\377'", "wrote what is not UTF-8 text"),
            ("head -c 100000 /dev/zero", "wrote more than 64 KiB"),
        ] {
            assert_eq!(say(script).unwrap_err(), why, "{script}");
        }
        let missing = run("/no/such/program", &[], COMMAND_TIME_MAX);
        assert!(missing.unwrap_err().starts_with("cannot be run"));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let hangs = run("sleep", &["1000"], Duration::from_millis(1));
        assert_eq!(hangs.unwrap_err(), "took longer than 0 seconds");
    }

    #[test]
    fn programs_are_not_run_for_those_who_only_look() {
        let looked = Commands::Leave.command(&["true"]);
        assert!(matches!(looked, Err(NotRun::Unasked(_))));
    }
}
