//! The gateway as a child process: real binary, ports chosen by the system, bounded
//! waits, stopped by its own process id.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::setup::Starting;
use super::sys::{self, Signal};
use super::{Client, PATIENCE, Response, Setup, ringgate, wait_until};
use serde_json::Value;

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    ready: Value,
    listeners: HashMap<String, String>,
    admin: Option<String>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    file: PathBuf,
    pub(super) setup: Option<Setup>,
}

impl Gateway {
    /// Starts the gateway on `file` and waits until it serves.
    #[track_caller]
    pub fn start_on(file: &Path) -> Self {
        Self::launch(file, &Starting::default())
    }

    #[track_caller]
    pub(super) fn launch(file: &Path, starting: &Starting) -> Self {
        Self::try_launch(file, starting).unwrap_or_else(|said| {
            let config = fs::read_to_string(file).unwrap_or_default();
            panic!("the gateway is not ready: {said}\n{config}")
        })
    }

    /// Starts it; the error is what it wrote to its standard error.
    pub(super) fn try_launch(file: &Path, starting: &Starting) -> Result<Self, String> {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = command_line(file, starting);
        command
            .env("RINGGATE_READY_FD", "3")
            .stdin(OwnedFd::from(writer))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The command holds our copy of the pipe's write end.
        drop(command);
        let stdout = capture(child.stdout.take().unwrap());
        let (stderr, said_all) = capture_to_end(child.stderr.take().unwrap());
        let Some(ready) = first_line(reader) else {
            let _ = child.kill();
            let _ = child.wait();
            let _ = said_all.recv_timeout(PATIENCE);
            let said = stderr.lock().unwrap().clone();
            return Err(said);
        };
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let listeners = ready["listeners"]
            .as_object()
            .map_or_else(HashMap::new, |map| {
                map.iter()
                    .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
                    .collect()
            });
        let admin = ready["admin"].as_str().map(str::to_owned);
        Ok(Self {
            child,
            ready,
            listeners,
            admin,
            stdout,
            stderr,
            file: file.to_owned(),
            setup: None,
        })
    }

    /// The address of the listener `public`.
    pub fn address(&self) -> &str {
        self.listener("public")
    }

    /// The address of the listener `name`.
    #[track_caller]
    pub fn listener(&self, name: &str) -> &str {
        self.listeners
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    /// The address of the admin API.
    pub fn admin_address(&self) -> &str {
        self.admin
            .as_deref()
            .unwrap_or_else(|| panic!("no admin in {}", self.ready))
    }

    /// What the gateway said when it became ready.
    pub fn readiness(&self) -> &Value {
        &self.ready
    }

    /// A new connection to the listener `public`.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    /// One request to the admin API.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str) -> Response {
        let address = self.admin_address();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        Client::connect(address).exchange(head)
    }

    /// The text of `/metrics`.
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.admin("GET", "/metrics").text().to_owned()
    }

    /// The sum of the samples of `name` that carry all of `labels`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum_samples(&self.metrics(), name, labels)
    }

    /// Waits until a metric's sum is at least `floor`.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], floor: f64) {
        wait_until(&format!("{name} {labels:?} >= {floor}"), || {
            self.metric(name, labels) >= floor
        });
    }

    /// The access log's lines, once there are `count`.
    #[track_caller]
    pub fn log_lines(&self, count: usize) -> Vec<String> {
        let file = self.setup().dir().join("access.log");
        let mut lines = Vec::new();
        wait_until(&format!("{count} access log lines"), || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            // Only lines that are written to their end.
            lines = text
                .split_inclusive('\n')
                .filter(|l| l.ends_with('\n'))
                .map(str::to_owned)
                .collect();
            lines.len() >= count
        });
        lines
    }

    /// The access log as JSON, once there are `count` lines.
    #[track_caller]
    pub fn log(&self, count: usize) -> Vec<Value> {
        self.log_lines(count)
            .iter()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    /// The only line of the access log.
    #[track_caller]
    pub fn log_line(&self) -> Value {
        let mut lines = self.log(1);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.remove(0)
    }

    /// What the gateway wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// What the gateway wrote to its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// Its resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        sys::signal(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the gateway exits", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends it with SIGTERM and waits.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::Terminate);
        self.wait()
    }

    /// The configuration file it runs on.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What it was started with.
    pub fn setup(&self) -> &Setup {
        self.setup.as_ref().unwrap()
    }

    /// Writes a changed configuration in the running one's place; nothing is reloaded.
    #[track_caller]
    pub fn rewrite(&mut self, change: impl FnOnce(Setup) -> Setup) {
        let setup = change(self.setup.take().unwrap());
        self.write_config(&setup.render());
        self.setup = Some(setup);
    }

    /// Replaces the configuration file's text at once, as an editor or a deploy does.
    pub fn write_config(&self, text: &str) {
        let fresh = self.file.with_extension("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, &self.file).unwrap();
    }

    /// Reloads through the admin API.
    #[track_caller]
    pub fn reload(&self) -> Response {
        self.admin("POST", "/reload")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.runs() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("the gateway's standard error:\n{}", self.stderr());
        } else {
            // No case may bring the gateway itself to panic, whatever it is about.
            let stderr = self.stderr();
            assert!(!stderr.contains("panic"), "the gateway panicked:\n{stderr}");
        }
    }
}

/// The sum of the samples of `name` that carry all of `labels` in a Prometheus text.
pub fn sum_samples(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .filter(|(series, _)| {
            labels
                .iter()
                .all(|(k, v)| series.contains(&format!("{k}=\"{v}\"")))
        })
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

/// `ringgate run FILE` under the circumstances asked for. The readiness pipe comes as
/// descriptor 0 and moves to 3; exec keeps the process id.
fn command_line(file: &Path, starting: &Starting) -> Command {
    let limit = starting.descriptors_max;
    let limit = limit.map_or(String::new(), |n| format!("ulimit -n {n}; "));
    let cores = starting.cores.as_deref();
    let cores = cores.map_or(String::new(), |list| format!("taskset -c {list} "));
    let script = format!("{limit}exec {cores}\"$0\" run \"$1\" 3>&0 </dev/null");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).arg(ringgate()).arg(file);
    command.envs(starting.variables.iter().map(|(name, value)| (name, value)));
    if starting.io_uring_refused {
        sys::refuse_io_uring(&mut command);
    }
    command
}

fn capture(source: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    capture_to_end(source).0
}

/// Gathers what is written; the channel closes at its end.
fn capture_to_end(source: impl Read + Send + 'static) -> (Arc<Mutex<String>>, mpsc::Receiver<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    let (ended, at_end) = mpsc::channel();
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while matches!(source.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            sink.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
        drop(ended);
    });
    (text, at_end)
}

fn first_line(source: impl Read + Send + 'static) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = String::new();
        if matches!(source.read_line(&mut line), Ok(n) if n > 0) {
            let _ = sender.send(line);
        }
        // The gateway keeps its end open; so does this, until either process ends.
        let _ = source.read_to_string(&mut String::new());
    });
    receiver.recv_timeout(PATIENCE).ok()
}
