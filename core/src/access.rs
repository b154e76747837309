//! The access log: one line per exchange, formatted on the core that served it, written to
//! the file by a thread of its own.
//!
//! Lines gather in a buffer of the core; full buffers, and on every tick what there is, go
//! through a bounded lock-free queue. When the writer cannot keep up, whole buffers are
//! dropped and counted; no request ever waits for the log.

mod format;
mod pen;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;

use format::{LINE_MAX, Second, combined_line, json_line};
use pen::{FIELD_MAX, Pen, needs_escape};

use crate::http::Version;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// The combined log format, with our columns behind it.
    Combined,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// A text that needs no escape in a line, for it is printable ASCII without quote and
/// backslash, and no longer than a text may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain<'a>(&'a [u8]);

impl<'a> Plain<'a> {
    /// Of a text that the caller knows to be plain by the way it was made or accepted, such as
    /// an address; it is looked at only in debug builds.
    #[inline]
    pub fn known(text: &'a [u8]) -> Plain<'a> {
        debug_assert!(text.len() <= FIELD_MAX && text.iter().all(|b| !needs_escape(*b)));
        Plain(text)
    }

    #[inline]
    const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// What a line says. Byte strings come from peers and are escaped.
#[derive(Debug)]
pub struct Record<'a> {
    /// Milliseconds since the UNIX epoch when the request began.
    pub unix_ms: u64,
    /// The request id; empty when off.
    pub request_id: Plain<'a>,
    /// The client's address.
    pub client: Plain<'a>,
    /// The listener's name.
    pub listener: &'a str,
    /// What the client asked for.
    pub said: Said<'a>,
    /// The consumer that made it.
    pub consumer: Option<&'a str>,
    /// How who made it was proved: the first scheme that did.
    pub scheme: Option<&'static str>,
    /// 0 when no answer was sent.
    pub status: u16,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The name of the upstream that another one, or a constant, has answered for.
    pub fallback_for: Option<&'a str>,
    /// The names of filters that would have refused it, had they not only watched.
    pub dry_run: [Option<&'a str>; DRY_RUN_MAX],
    /// The endpoint's address.
    pub endpoint: Option<&'a str>,
    /// Attempts made at origins.
    pub attempts: u8,
    /// Body bytes from the client.
    pub received: u64,
    /// Body bytes to the client.
    pub sent: u64,
    /// Microseconds.
    pub timing: Timing,
    /// Who ended the exchange, and where, in letters; `--` for a complete one.
    pub termination: [u8; 2],
    /// The log code of a fault or a filter's answer.
    pub code: Option<&'static str>,
    /// The client's fields.
    pub referer: Option<&'a [u8]>,
    /// The client's fields.
    pub user_agent: Option<&'a [u8]>,
}

/// Filters in a dry run that a line names; further ones are left out.
pub const DRY_RUN_MAX: usize = 4;

/// What a client sent.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// A request, its parts as sent.
    Request {
        /// The method.
        method: &'a [u8],
        /// Host and port.
        host: &'a [u8],
        /// The target.
        target: &'a [u8],
        /// The version of HTTP.
        version: Version,
    },
    /// Something that is no request; its first line.
    Line(&'a [u8]),
}

/// Phases of an exchange in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From the first byte to the last.
    pub total: u64,
    /// Until the request head was complete.
    pub head: u64,
    /// Routing and filters.
    pub policy: u64,
    /// Until there was a connection to the origin.
    pub connect: Option<u64>,
    /// From the request's departure to the response head.
    pub wait: Option<u64>,
    /// From the response head to the end.
    pub relay: Option<u64>,
}

/// One core's end of the log.
pub struct LogBuffer {
    format: Format,
    lines: Lines,
    second: Second,
    queue: Arc<Queue>,
}

/// Lines on their way to the writer: the used part of memory with room for one more. It is all
/// initialised, so that a line is written without a look at a capacity; what no line has
/// reached is not even backed by pages.
struct Lines {
    memory: Box<[u8]>,
    used: usize,
}

/// The writer's end: a thread.
pub struct LogWriter {
    target: Target,
    queue: Arc<Queue>,
    thread: thread::JoinHandle<()>,
}

/// What the writer says when its luck changes.
#[derive(Debug)]
pub enum WriterState {
    /// Lines are lost for this reason.
    Failing(io::Error),
    /// Lines are written again.
    Recovered,
}

struct Queue {
    full: ArrayQueue<Lines>,
    spare: ArrayQueue<Lines>,
    /// An output that takes the place of the one in use.
    fresh: ArrayQueue<Output>,
    failed_writes: AtomicU64,
    stop: AtomicBool,
}

impl Queue {
    fn new(buffers_max: usize) -> Queue {
        Queue {
            full: ArrayQueue::new(buffers_max),
            spare: ArrayQueue::new(buffers_max),
            fresh: ArrayQueue::new(1),
            failed_writes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }
}

/// Bytes that gather on a core before they are handed over.
const BUFFER_FULL: usize = 48 << 10;
/// The size of a buffer: a line always fits behind those that have not filled it.
const BUFFER_SIZE: usize = 160 << 10;
const _: () = assert!(BUFFER_FULL + LINE_MAX <= BUFFER_SIZE);
/// Buffers under way at most: about 16 MiB of lines.
const BUFFERS_MAX: usize = 256;
/// Longest pause of the writer: cores flush at every tick and do not wake it.
const WRITER_PAUSE: Duration = Duration::from_millis(50);

impl LogWriter {
    /// Opens the target and starts the writer, which tells `on_change` when writing begins to
    /// fail and when it works again.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or no thread can be had.
    pub fn start(
        target: Target,
        on_change: impl Fn(WriterState) + Send + 'static,
    ) -> io::Result<LogWriter> {
        let queue = Arc::new(Queue::new(BUFFERS_MAX));
        let output = Output::open(&target)?;
        let writer_queue = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("ringgate-log".to_owned())
            .spawn(move || write_loop(&writer_queue, output, &on_change))?;
        Ok(LogWriter {
            target,
            queue,
            thread,
        })
    }

    /// Writes that failed, each of up to 64 KiB of lines.
    pub fn failed_writes(&self) -> u64 {
        self.queue.failed_writes.load(Ordering::Relaxed)
    }

    /// A core's end.
    pub fn buffer(&self, format: Format) -> LogBuffer {
        LogBuffer {
            format,
            lines: Lines::default(),
            second: Second::default(),
            queue: Arc::clone(&self.queue),
        }
    }

    /// Opens the file anew, after it was rotated away; later lines go there.
    ///
    /// # Errors
    /// When it cannot be opened; lines then go where they went before.
    pub fn reopen(&self) -> io::Result<()> {
        let fresh = Output::open(&self.target)?;
        self.queue.fresh.force_push(fresh);
        self.thread.thread().unpark();
        Ok(())
    }

    /// Writes what was handed over and ends the thread.
    pub fn stop(self) {
        self.queue.stop.store(true, Ordering::Release);
        let thread: &Thread = self.thread.thread();
        thread.unpark();
        let _ = self.thread.join();
    }
}

impl LogBuffer {
    /// Adds a line. False when the former lines had to be dropped.
    #[must_use]
    pub fn push(&mut self, record: &Record<'_>) -> bool {
        let pen = Pen::new(&mut self.lines.memory[self.lines.used..]);
        let pen = match self.format {
            Format::Json => json_line(record, &mut self.second, pen),
            Format::Combined => combined_line(record, &mut self.second, pen),
        };
        self.lines.used = BUFFER_SIZE - pen.left();
        self.lines.used < BUFFER_FULL || self.flush()
    }

    /// Hands over what there is. False when the queue was full and the lines were dropped.
    #[must_use]
    pub fn flush(&mut self) -> bool {
        if self.lines.used == 0 {
            return true;
        }
        let next = self.queue.spare.pop().unwrap_or_default();
        let lines = std::mem::replace(&mut self.lines, next);
        match self.queue.full.push(lines) {
            Ok(()) => true,
            Err(mut dropped) => {
                dropped.used = 0;
                self.lines = dropped;
                false
            }
        }
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines {
            memory: vec![0; BUFFER_SIZE].into_boxed_slice(),
            used: 0,
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

enum Output {
    Stdout(io::Stdout),
    File(std::fs::File),
}

impl Output {
    #[allow(clippy::disallowed_methods, reason = "the writer's thread")]
    fn open(target: &Target) -> io::Result<Output> {
        match target {
            Target::Stdout => Ok(Output::Stdout(io::stdout())),
            Target::File(path) => {
                let file = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)?;
                Ok(Output::File(file))
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::Stdout(stdout) => stdout.write_all(lines).and_then(|()| stdout.flush()),
            Output::File(file) => file.write_all(lines),
        }
    }
}

fn write_loop(queue: &Queue, mut output: Output, on_change: &dyn Fn(WriterState)) {
    let mut failing = false;
    loop {
        let stopping = queue.stop.load(Ordering::Acquire);
        if let Some(fresh) = queue.fresh.pop() {
            output = fresh;
        }
        while let Some(mut lines) = queue.full.pop() {
            // A full disk or a closed pipe costs log lines, never traffic.
            let written = output.write(&lines.memory[..lines.used]);
            let fails = written.is_err();
            match written {
                Err(error) if !failing => on_change(WriterState::Failing(error)),
                Ok(()) if failing => on_change(WriterState::Recovered),
                _ => {}
            }
            failing = fails;
            queue
                .failed_writes
                .fetch_add(u64::from(fails), Ordering::Relaxed);
            lines.used = 0;
            let _ = queue.spare.push(lines);
        }
        if stopping {
            return;
        }
        thread::park_timeout(WRITER_PAUSE);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    pub(super) fn record() -> Record<'static> {
        Record {
            unix_ms: 1_732_233_600_123,
            request_id: Plain::known(b"id-1"),
            client: Plain::known(b"192.0.2.7"),
            listener: "public",
            said: Said::Request {
                method: b"GET",
                host: b"api.example.com",
                target: b"/a?b=\"c\"\xff",
                version: Version::Http11,
            },
            consumer: Some("app"),
            scheme: Some("jwt"),
            status: 200,
            route: Some("r"),
            upstream: Some("u"),
            fallback_for: None,
            dry_run: [None; DRY_RUN_MAX],
            endpoint: None,
            attempts: 0,
            received: 0,
            sent: 5,
            timing: Timing::default(),
            termination: *b"--",
            code: None,
            referer: None,
            user_agent: Some(b"curl\n"),
        }
    }

    #[test]
    fn a_full_queue_drops_lines_and_says_so() {
        let queue = Arc::new(Queue::new(1));
        let mut buffer = LogBuffer {
            format: Format::Json,
            lines: Lines::default(),
            second: Second::default(),
            queue,
        };
        assert!(buffer.push(&record()) && buffer.flush());
        assert!(buffer.push(&record()));
        assert!(!buffer.flush());
    }

    #[test]
    fn a_writer_that_fails_says_so_once() {
        let (told, states) = std::sync::mpsc::channel();
        let target = Target::File("/dev/full".into());
        let writer = LogWriter::start(target, move |state| told.send(state).unwrap()).unwrap();
        let mut buffer = writer.buffer(Format::Json);
        for _ in 0..2 {
            assert!(buffer.push(&record()) && buffer.flush());
            while !buffer.queue.full.is_empty() {
                thread::yield_now();
            }
        }
        drop(buffer);
        writer.stop();
        let states: Vec<_> = states.iter().collect();
        assert!(
            matches!(&states[..], [WriterState::Failing(_)]),
            "{states:?}"
        );
    }

    #[test]
    fn the_writer_appends_and_reopens() {
        let dir = std::env::temp_dir().join(format!("ringgate-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("access.log");
        let writer = LogWriter::start(Target::File(path.clone()), |_| {}).unwrap();
        let mut buffer = writer.buffer(Format::Json);
        assert!(buffer.push(&record()) && buffer.flush());
        while std::fs::metadata(&path).unwrap().len() == 0 {
            thread::yield_now();
        }
        std::fs::rename(&path, dir.join("access.log.1")).unwrap();
        writer.reopen().unwrap();
        assert!(buffer.push(&record()));
        drop(buffer);
        writer.stop();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
