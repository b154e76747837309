//! Processes that the bench starts, and stops again on every way out.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::cores::{self, Cores};
use crate::fault::{Fault, Result};
use crate::interrupt;
use crate::procfs::{self, Member, Pid};

/// What is to be started.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables beside those of this process.
    pub environment: Vec<(&'a str, &'a str)>,
    /// Where it and its children run; anywhere if none.
    pub cores: Option<&'a Cores>,
    /// An existing directory that takes its standard error.
    pub directory: &'a Path,
    /// Where its standard output goes.
    pub output: Output<'a>,
}

/// Where the standard output of a process goes.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// To us, see [`Process::output`].
    Read,
    /// To the end of a file.
    File(&'a Path),
}

impl Plan<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self) -> Result<Process> {
        match self.cores {
            Some(cores) => cores::on(cores, || self.spawn()),
            None => self.spawn(),
        }
    }

    fn spawn(&self) -> Result<Process> {
        let failed = |error: std::io::Error| Fault::io(&format!("start {}", self.name), &error);
        let complaints = self.directory.join(format!("{}.stderr", self.name));
        let stdout = match self.output {
            Output::Read => Stdio::piped(),
            Output::File(path) => {
                let file = File::options().create(true).append(true).open(path);
                file.map_err(failed)?.into()
            }
        };
        let child = Command::new(self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(File::create(&complaints).map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        Ok(Process {
            name: self.name.to_owned(),
            command: self.command(),
            child,
            complaints,
        })
    }

    /// The command as one would type it.
    pub fn command(&self) -> String {
        let pinned = self.cores.map(|cores| format!("taskset -c {cores}"));
        let set = self.environment.iter().map(|(k, v)| format!("{k}={v}"));
        let program = self.program.display().to_string();
        let arguments = self.arguments.iter().map(|word| shown(word));
        let words: Vec<String> = set
            .chain(pinned)
            .chain([program])
            .chain(arguments)
            .collect();
        words.join(" ")
    }
}

/// A running process. Dropping it ends it and its descendants.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: String,
    child: Child,
    complaints: PathBuf,
}

/// How much of a process's output is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The first line.
    Line,
    /// All of it: the process has ended, or is about to.
    End,
}

impl Process {
    /// Its id.
    pub fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// The command as one would type it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Reads its standard output, once only; the rest is not read by anybody.
    ///
    /// # Errors
    /// When it ends without a line, takes longer than `limit`, or a signal comes.
    pub fn output(&mut self, until: Until, limit: Duration) -> Result<String> {
        let Some(stdout) = self.child.stdout.take() else {
            return Err(self.failed("has no output left"));
        };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(read(stdout, until)));
        let end = Instant::now() + limit;
        loop {
            interrupt::check()?;
            match receiver.recv_timeout(SLICE) {
                Ok(text) if until == Until::Line && text.is_empty() => {
                    return Err(self.failed("ended"));
                }
                Ok(text) => return Ok(text),
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                Err(_) => return Err(self.failed("took too long")),
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it takes longer than `limit`, or a signal comes.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = interrupt::wait(limit, || {
            let ended = self.child.try_wait();
            ended.map_err(|error| Fault::io("wait for a process", &error))
        })?;
        ended.ok_or_else(|| self.failed("took too long"))
    }

    /// A failure of this process, with what it said about it.
    pub fn failed(&self, what: &str) -> Fault {
        let said = fs::read_to_string(&self.complaints).unwrap_or_default();
        let said = said.trim();
        let from = said.len().saturating_sub(COMPLAINT_BYTES_MAX);
        let tail = said
            .get(said.ceil_char_boundary(from)..)
            .unwrap_or_default();
        Fault::Setup(format!("{} {what}\n{tail}", self.name))
    }

    /// Ends it and its descendants: politely, then not.
    pub fn stop(&mut self) {
        // A process that was waited for may have given its id away.
        if !self.is_running() {
            return;
        }
        let members = procfs::tree(self.pid());
        send(self.pid(), Signal::TERM);
        let end = Instant::now() + STOP_PATIENCE;
        while self.is_running() && Instant::now() < end {
            thread::sleep(SLICE);
        }
        let orphans = |member: &&Member| member.pid != self.pid() && member.is_alive();
        members
            .iter()
            .filter(orphans)
            .for_each(|member| send(member.pid, Signal::KILL));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Finds a program on the PATH, or where daemons are kept.
///
/// # Errors
/// When it is not there: how to install it.
pub fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(daemons)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            Fault::Setup(format!(
                "{program} is not on the PATH; install it: apt-get install {package}"
            ))
        })
}

/// What a program says about its version, on either stream.
pub fn version(program: &Path, flag: &str) -> String {
    match Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).trim().to_owned()
        }
        Err(error) => format!("unknown: {error}"),
    }
}

fn read(stdout: ChildStdout, until: Until) -> String {
    let mut stdout = BufReader::new(stdout);
    let mut text = String::new();
    // What was read before an error is all there is.
    let _ = match until {
        Until::Line => stdout.read_line(&mut text),
        Until::End => stdout.read_to_string(&mut text),
    };
    text
}

fn send(pid: Pid, signal: Signal) {
    let pid = i32::try_from(pid.0).ok();
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// A word as one would type it.
pub fn shown(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    match word.contains([' ', ';', '"', '\'']) {
        true => format!("'{word}'"),
        false => word.into_owned(),
    }
}

const SLICE: Duration = Duration::from_millis(10);

/// Longer than any of them needs to write out its logs.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The end of a complaint says most.
const COMPLAINT_BYTES_MAX: usize = 2_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plan<'a>(script: &str, directory: &'a Path) -> Plan<'a> {
        Plan {
            name: "the script",
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("WORD", "hello")],
            cores: None,
            directory,
            output: Output::Read,
        }
    }

    #[test]
    fn the_first_line_is_there_before_the_process_ends() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan("echo $WORD; exec sleep 60", directory.path());
        let mut process = plan.start().unwrap();
        let line = process
            .output(Until::Line, Duration::from_secs(20))
            .unwrap();
        assert_eq!(line, "hello\n");
        assert!(process.is_running());
        process.stop();
        assert!(!process.is_running());
    }

    #[test]
    fn a_process_that_ends_without_a_line_tells_what_it_complained_of() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = plan("echo no luck >&2", directory.path()).start().unwrap();
        let fault = process.output(Until::Line, Duration::from_secs(20));
        assert_eq!(
            fault,
            Err(Fault::Setup("the script ended\nno luck".to_owned()))
        );
    }

    #[test]
    fn children_of_a_process_end_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan("sleep 60 & echo $!; wait", directory.path());
        let mut process = plan.start().unwrap();
        let line = process
            .output(Until::Line, Duration::from_secs(20))
            .unwrap();
        let child = Pid(line.trim().parse().unwrap());
        let member = procfs::tree(child)[0];
        drop(process);
        let ended = interrupt::wait(Duration::from_secs(20), || {
            Ok((!member.is_alive()).then_some(()))
        });
        assert_eq!(ended, Ok(Some(())));
    }

    #[test]
    fn a_missing_program_says_how_to_install_it() {
        let fault = find("no-such-program-here", "some-package");
        let text = fault.unwrap_err().to_string();
        assert!(text.contains("apt-get install some-package"), "{text}");
    }

    #[test]
    fn the_command_shows_where_it_runs() {
        let mut plan = plan("a b", Path::new("/"));
        let cores = Cores::new([1]);
        plan.cores = cores.as_ref();
        assert_eq!(plan.command(), "WORD=hello taskset -c 1 /bin/sh -c 'a b'");
    }
}
