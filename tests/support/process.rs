//! A program as a peer: started by a case, told to end with it, its lines waited for with a
//! deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, wait_until};

/// A running program. Dropping it closes its standard input and kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
    name: String,
}

impl Process {
    /// Starts `command` with its three streams held here.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let name = format!("{:?}", command.get_program());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| missing(&name, &e));
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut source) = (Arc::clone(&stderr), child.stderr.take().unwrap());
        thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = source.read(&mut block) {
                sink.lock().unwrap().extend_from_slice(&block[..n]);
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            stderr,
            name,
        }
    }

    /// The next line of its standard output.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} writes nothing; {}", self.name, self.stderr())
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{} ended; {}", self.name, self.stderr())
            }
        }
    }

    /// The next line, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"))
    }

    /// The next line that has the key `key`; those before it are left out.
    #[track_caller]
    pub fn json_with(&self, key: &str) -> Value {
        loop {
            let said = self.json();
            if said.get(key).is_some() {
                return said;
            }
        }
    }

    /// Whether a line comes within `wait`; it is lost.
    pub fn says_within(&self, wait: Duration) -> bool {
        self.lines.recv_timeout(wait).is_ok()
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn tell(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("the input is still open");
        stdin.write_all(bytes.as_ref()).unwrap();
        stdin.flush().unwrap();
    }

    /// Ends its standard input.
    pub fn finish(&mut self) {
        self.stdin = None;
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(&format!("{} ends", self.name), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Kills it and waits, as a crash of the origin.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The port that it listens on, once it does: the only one, on loopback.
    #[track_caller]
    pub fn port(&self) -> u16 {
        let mut found = None;
        wait_until(&format!("{} listens", self.name), || {
            found = listening_port(self.pid());
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        self.kill();
        if thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.stderr());
        }
    }
}

/// What a program that ended by itself left.
#[derive(Debug)]
pub struct Output {
    pub success: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// The standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Both outputs, for programs that write to either.
    pub fn all(&self) -> String {
        self.text() + &self.stderr
    }
}

/// Runs `command` to its end with `input`, and kills it when that does not come.
#[track_caller]
pub fn output(mut command: Command, input: &[u8]) -> Output {
    let name = format!("{:?}", command.get_program());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| missing(&name, &e));
    let drain = |mut source: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = source.read_to_end(&mut bytes);
            bytes
        })
    };
    let stdout = drain(Box::new(child.stdout.take().unwrap()));
    let stderr = drain(Box::new(child.stderr.take().unwrap()));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // The program may end without reading all of it.
    thread::spawn(move || stdin.write_all(&input));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let stdout = stdout.join().unwrap();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
    let Some(status) = status else {
        let stdout = String::from_utf8_lossy(&stdout);
        panic!("{name} did not end; it said:\n{stdout}\n{stderr}")
    };
    Output {
        success: status.success(),
        stdout,
        stderr,
    }
}

/// A tool from the path; Debian keeps servers in /usr/sbin.
pub fn tool(name: &str) -> Command {
    let sbin = format!("/usr/sbin/{name}");
    Command::new(if Path::new(&sbin).exists() {
        &sbin
    } else {
        name
    })
}

fn missing(name: &str, error: &std::io::Error) -> ! {
    panic!("{name}: {error}; run ./tests/run, which installs it")
}

/// The TCP port that the process `pid` listens on.
fn listening_port(pid: u32) -> Option<u16> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        if let Ok(target) = std::fs::read_link(entry.path()) {
            sockets.push(target.to_string_lossy().into_owned());
        }
    }
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // proc(5): local address, then state, of which 0A is listening, and the inode.
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let ours = sockets.contains(&format!("socket:[{inode}]"));
        (*state == "0A" && ours)
            .then(|| u16::from_str_radix(local.split(':').nth(1)?, 16).ok())
            .flatten()
    })
}
