//! The configuration of a case: a shared prelude, single keys changed, and its own body.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::Gateway;
use super::certificates::Pair;

/// How the workers under test talk to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// A configuration in the making: a prelude every case shares, with single keys set or
/// changed, and the case's own upstreams and routes behind it.
#[derive(Debug)]
pub struct Setup {
    dir: TempDir,
    keys: Vec<(&'static str, &'static str, String)>,
    body: String,
    include: String,
    starting: Starting,
}

/// Under which circumstances the gateway starts.
#[derive(Clone, Debug, Default)]
pub struct Starting {
    /// As `ulimit -n` sets it.
    pub descriptors_max: Option<u64>,
    /// As `taskset -c` takes it.
    pub cores: Option<String>,
    /// The kernel refuses io_uring.
    pub io_uring_refused: bool,
    /// Variables of its environment.
    pub variables: Vec<(&'static str, String)>,
}

impl Setup {
    /// One worker on `driver`, an admin listener, a JSON access log, one listener.
    pub fn new(driver: Driver) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let access = format!("{:?}", dir.path().join("access.log"));
        let driver = format!("{:?}", driver.as_str());
        Self {
            dir,
            keys: Vec::new(),
            body: String::new(),
            include: String::new(),
            starting: Starting::default(),
        }
        .set("runtime", "workers", "1")
        .set("runtime", "driver", &driver)
        .set("runtime", "shutdown_grace", "\"10s\"")
        .set("admin", "listen", "\"127.0.0.1:0\"")
        .set("log", "access", &access)
        .set("listener", "name", "\"public\"")
        .set("listener", "listen", "\"127.0.0.1:0\"")
    }

    /// Everything goes to the origin at `endpoint`, through the upstream `app`.
    pub fn proxy(driver: Driver, endpoint: &str) -> Self {
        Self::new(driver)
            .upstream("app", endpoint, "")
            .catch_all("app")
    }

    /// Sets a key of a section to a TOML value; the section `listener` is the listener
    /// `public`.
    pub fn set(mut self, section: &'static str, key: &'static str, value: &str) -> Self {
        self.keys.retain(|(s, k, _)| (*s, *k) != (section, key));
        self.keys.push((section, key, value.to_owned()));
        self
    }

    /// Adds an upstream with one endpoint and further lines.
    pub fn upstream(self, name: &str, endpoint: &str, more: &str) -> Self {
        self.body(&format!(
            "[[upstream]]\nname = \"{name}\"\nendpoints = [\"{endpoint}\"]\n{more}\n"
        ))
    }

    /// Adds a route for every path to `upstream`.
    pub fn catch_all(self, upstream: &str) -> Self {
        self.route("all", "/{rest*}", &format!("upstream = \"{upstream}\""))
    }

    /// Adds a route with its action and further lines.
    pub fn route(self, name: &str, path: &str, more: &str) -> Self {
        self.body(&format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\n{more}\n"
        ))
    }

    /// Makes the listener `public` speak TLS with these certificates.
    pub fn certificates(self, pairs: &[&Pair]) -> Self {
        let tables: Vec<String> = pairs.iter().map(|pair| pair.toml()).collect();
        let list = format!("[{}]", tables.join(", "));
        self.set("listener", "certificate", &list)
    }

    /// Adds any TOML after the prelude.
    pub fn body(mut self, toml: &str) -> Self {
        self.body.push_str(toml);
        self.body.push('\n');
        self
    }

    /// Adds an include pattern, which must be the file's first line.
    pub fn include(mut self, pattern: &str) -> Self {
        self.include = format!("include = [{pattern:?}]\n");
        self
    }

    /// Drops every upstream and route, for a reload to other ones.
    pub fn without_body(mut self) -> Self {
        self.body.clear();
        self
    }

    /// Lets the gateway have only this many descriptors.
    pub fn descriptors_max(mut self, count: u64) -> Self {
        self.starting.descriptors_max = Some(count);
        self
    }

    /// Lets the gateway run only on these cores, such as "0".
    pub fn cores(mut self, list: &str) -> Self {
        self.starting.cores = Some(list.to_owned());
        self
    }

    /// Gives the gateway a variable of its environment.
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.starting.variables.push((name, value.to_owned()));
        self
    }

    /// Has the kernel refuse io_uring to the gateway.
    pub fn io_uring_refused(mut self) -> Self {
        self.starting.io_uring_refused = true;
        self
    }

    /// The case's scratch directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration as text.
    pub fn render(&self) -> String {
        let mut text = self.include.clone();
        for section in [
            "runtime",
            "admin",
            "log",
            "limits",
            "overload",
            "path",
            "forwarded",
            "listener",
        ] {
            let keys: Vec<_> = self.keys.iter().filter(|(s, _, _)| *s == section).collect();
            if keys.is_empty() {
                continue;
            }
            let header = if section == "listener" {
                "[[listener]]"
            } else {
                &format!("[{section}]")
            };
            writeln!(text, "{header}").unwrap();
            for (_, key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text + &self.body
    }

    /// Starts the gateway where it must not start, and returns what it says.
    #[track_caller]
    pub fn fails_to_start(self) -> String {
        let file = self.dir.path().join("ringgate.toml");
        fs::write(&file, self.render()).unwrap();
        match Gateway::try_launch(&file, &self.starting) {
            Ok(gateway) => panic!("it started: {}", gateway.readiness()),
            Err(said) => said,
        }
    }

    /// Writes the configuration and starts the gateway on it.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let file = self.dir.path().join("ringgate.toml");
        fs::write(&file, self.render()).unwrap();
        let mut gateway = Gateway::launch(&file, &self.starting);
        gateway.setup = Some(self);
        gateway
    }
}
