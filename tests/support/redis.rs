//! A Redis server, on a port that the system chose. Cases stop it, kill it and start it again.

use std::fmt;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server without persistence. Dropping it ends it.
pub struct Redis {
    server: Child,
    port: u16,
    password: Option<String>,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::launch(None, &[])
    }

    /// One that speaks TLS alone, with these files, and lets in one user with a password.
    pub fn with_tls([cert, key, ca]: [&str; 3], user: &str, password: &str) -> Self {
        let password = format!(">{password}");
        let files = ["--tls-cert-file", cert, "--tls-key-file", key];
        let trust = ["--tls-ca-cert-file", ca, "--tls-auth-clients", "no"];
        let users = ["--user", user, "on", &password, "~ringgate:*", "+@all"];
        let nobody_else = ["--user", "default", "off"];
        let arguments = [&files[..], &trust, &users, &nobody_else].concat();
        Self::launch(None, &arguments)
    }

    /// One that wants a password.
    pub fn with_password(password: &str) -> Self {
        Self::launch(Some(password.to_owned()), &[])
    }

    fn launch(password: Option<String>, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let end = Instant::now() + PATIENCE;
        loop {
            // Somebody else may take the port meanwhile.
            let port = free_port();
            if let Some(server) = run(port, password.as_deref(), &arguments) {
                return Self {
                    server,
                    port,
                    password,
                    arguments,
                };
            }
            assert!(Instant::now() < end, "redis-server does not start");
        }
    }

    /// The `url` of a configuration, with the password where there is one.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", self.port),
            None => format!("redis://127.0.0.1:{}/", self.port),
        }
    }

    /// The port alone, for other passwords.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a crash does: it forgets every count.
    pub fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it again at the same port.
    pub fn start_again(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(server) = run(self.port, self.password.as_deref(), &self.arguments) {
                self.server = server;
                return;
            }
            assert!(Instant::now() < end, "redis-server does not start again");
        }
    }

    /// Has it stand still: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.server.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.unwrap().success(), "kill {signal} {pid}");
    }

    /// What `redis-cli` says to a command.
    pub fn say(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.args(words).output();
        let output = output.unwrap_or_else(|e| panic!("redis-cli: {e}; run ./tests/run"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// `None` when it ends by itself, as on a port that is taken.
fn run(port: u16, password: Option<&str>, arguments: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    let number = port.to_string();
    match arguments.iter().any(|one| one.starts_with("--tls")) {
        true => command.args(["--port", "0", "--tls-port", &number]),
        false => command.args(["--port", &number]),
    };
    command.args(["--bind", "127.0.0.1"]).args(arguments);
    command.args(["--save", "", "--appendonly", "no"]);
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    let mut server = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("redis-server: {e}; run ./tests/run, which installs it"));
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if server.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(
            Instant::now() < end,
            "redis-server does not listen on {port}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(server)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis on {}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that stands still hears nothing but this.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
