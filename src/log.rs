//! The operational log: what an operator reads on standard error. `RUST_LOG` overrides the
//! configured level; a reload may change level and format.

use std::io::{self, IsTerminal};

use ringgate_config::model::{Log, LogFormat, LogLevel};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Output = Box<dyn Layer<Filtered> + Send + Sync>;

/// The log of this process, once started.
pub struct OperationalLog {
    filter: reload::Handle<EnvFilter, Registry>,
    output: reload::Handle<Output, Filtered>,
}

impl OperationalLog {
    /// Starts the log. A log that an embedding program has started already stays as it is.
    pub fn start(log: &Log) -> OperationalLog {
        let (filter, filter_handle) = reload::Layer::new(filter(log.level));
        let (output, output_handle) = reload::Layer::new(output(log.format));
        let subscriber = tracing_subscriber::registry().with(filter).with(output);
        let _ = subscriber.try_init();
        std::panic::set_hook(Box::new(log_panic));
        OperationalLog {
            filter: filter_handle,
            output: output_handle,
        }
    }

    /// Takes over what a reload changed.
    pub fn apply(&self, log: &Log) {
        // It fails only when the subscriber is gone, and with it every reader.
        let _ = self.filter.reload(filter(log.level));
        let _ = self.output.reload(output(log.format));
    }
}

/// A panic ends one connection or one task, which others count; here it leaves its line in the
/// format of all lines.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name(),
        place,
        panic = text,
        "a program error ended a connection or a task; please report this"
    );
}

fn filter(level: LogLevel) -> EnvFilter {
    if let Ok(directives) = std::env::var(EnvFilter::DEFAULT_ENV)
        && !directives.is_empty()
    {
        return EnvFilter::new(directives);
    }
    // Libraries may complain, but their progress is nobody's concern.
    EnvFilter::new(match level {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,ringgate=info",
        LogLevel::Debug => "warn,ringgate=debug",
        LogLevel::Trace => "info,ringgate=trace",
    })
}

fn output(format: LogFormat) -> Output {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Json => Box::new(
            layer
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false),
        ),
        LogFormat::Text => Box::new(
            layer
                .with_target(false)
                .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        ),
    }
}
