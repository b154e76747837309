//! What concerns the process as a whole.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{HeaderName, ListenAddr};
use crate::Spanned;
use crate::keys::words;

/// `[runtime]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Number of data-plane threads.
    pub workers: Spanned<Workers>,
    /// Which cores they are pinned to.
    pub cores: Spanned<Cores>,
    /// How they talk to the kernel.
    pub driver: Driver,
    /// How long requests in flight may take to end after SIGTERM.
    pub shutdown_grace: Duration,
    /// Length of each listening socket's accept queue.
    pub backlog: u32,
}

/// Number of data-plane threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that this process may use.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

/// Which cores the workers are pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// The cores that this process may use, in order.
    Auto,
    /// Worker i runs on the i-th of these; never empty, no core twice.
    List(Vec<usize>),
}

/// How workers talk to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `io_uring`; epoll with a warning where the kernel refuses it.
    Auto,
    /// `io_uring` or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where the admin API listens.
    pub listen: Spanned<ListenAddr>,
    /// Host names that it answers to beside IP addresses and `localhost`; in lower case.
    pub hosts: Vec<Box<str>>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Least severe message of the operational log that is written.
    pub level: LogLevel,
    /// Where access lines go.
    pub access: AccessLog,
    /// How both logs are written.
    pub format: LogFormat,
}

/// Level of the operational log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// `error`
    Error,
    /// `warn`
    Warn,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `trace`
    Trace,
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// No access log.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format.
    Text,
}

/// `[path]`: how a request path is normalised before it is matched and forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathPolicy {
    /// What `%2F` does.
    pub encoded_slash: EncodedSlash,
    /// What `\` and `%5C` do.
    pub backslash: Backslash,
    /// Whether `//` counts as `/`.
    pub merge_slashes: bool,
    /// What `.` and `..` segments do.
    pub dot_segments: DotSegments,
    /// Whether `/a` and `/a/` are the same.
    pub trailing_slash: TrailingSlash,
}

/// What an encoded slash (`%2F`) in a path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlash {
    /// 400.
    Reject,
    /// It stays encoded and does not end a segment.
    Keep,
    /// It becomes a slash before dot segments are resolved and routes matched.
    Decode,
}

/// What a backslash in a path does, plain or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backslash {
    /// 400.
    Reject,
    /// It becomes a slash.
    Slash,
}

/// What `.` and `..` segments do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotSegments {
    /// They are resolved (RFC 3986, section 5.2.4).
    Resolve,
    /// 400.
    Reject,
}

/// Whether `/a` and `/a/` are the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailingSlash {
    /// They differ.
    Strict,
    /// They match the same routes.
    Ignore,
    /// The spelling without a route is redirected (308) to the one that has it.
    Redirect,
}

/// `[forwarded]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Peers whose word about the client is believed.
    pub trusted: Vec<Spanned<IpNet>>,
    /// Whether origins get `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// Whether origins get `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// The name this gateway goes by in `Via`; `None` adds no `Via`.
    pub via: Option<Box<str>>,
    /// The field that carries the request id; `None` adds none.
    pub request_id: Option<HeaderName>,
}

words!(Driver { Auto = "auto", IoUring = "io_uring", Epoll = "epoll" });
words!(LogLevel {
    Off = "off",
    Error = "error",
    Warn = "warn",
    Info = "info",
    Debug = "debug",
    Trace = "trace",
});
words!(LogFormat { Json = "json", Text = "text" });
words!(EncodedSlash { Reject = "reject", Keep = "keep", Decode = "decode" });
words!(Backslash { Reject = "reject", Slash = "slash" });
words!(DotSegments { Resolve = "resolve", Reject = "reject" });
words!(TrailingSlash { Strict = "strict", Ignore = "ignore", Redirect = "redirect" });
