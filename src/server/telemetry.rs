//! Log lines on standard error, for people or for programs.
//!
//! Libraries under us log what goes over the wire: tungstenite prints whole frames, passcodes and tokens included. They
//! are held at `info` whatever the filter says.

use std::io::{self, IsTerminal};

use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter};

use super::config::{Log, LogFormat, LogLevel};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable's filter cannot be read.
    #[error("variable {FILTER_VARIABLE}: {0}")]
    Filter(String),
    /// The process has a log already.
    #[error("logging is already set up: {0}")]
    Twice(String),
}

/// Starts logging for the whole process. `filter` is the value of [`FILTER_VARIABLE`]; it replaces the configured level.
pub fn init(log: &Log, filter: Option<&str>) -> Result<(), TelemetryError> {
    let ansi = io::stderr().is_terminal();
    let subscriber = subscriber(log, filter, ansi, io::stderr)?;
    subscriber.try_init().map_err(|error| TelemetryError::Twice(error.to_string()))
}

/// The whole chain: filter, cap, lines.
fn subscriber<W>(
    log: &Log,
    filter: Option<&str>,
    ansi: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = filter.filter(|text| !text.is_empty()).unwrap_or(log.level.directive());
    let wanted = EnvFilter::try_new(directives).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let cap = filter::filter_fn(is_harmless).with_max_level_hint(LevelFilter::TRACE);
    Ok(tracing_subscriber::registry().with(wanted).with(cap).with(lines(log.format, ansi, writer)))
}

fn lines<S, W>(format: LogFormat, ansi: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Human => Box::new(layer.with_ansi(ansi)),
        LogFormat::Json => {
            Box::new(layer.json().flatten_event(true).with_current_span(false).with_span_list(false))
        }
    }
}

/// Whether a line can hold neither payloads nor credentials.
fn is_harmless(line: &Metadata<'_>) -> bool {
    let root = line.target().split("::").next().unwrap_or_default();
    !CAPPED.contains(&root) || *line.level() <= tracing::Level::INFO
}

impl LogLevel {
    fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            // What the database under the store on disk does from time to time is of no use to operators.
            Self::Info => "info,fjall=warn,lsm_tree=warn",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The variable with a filter by module, such as `info,stompede::broker=debug`.
pub const FILTER_VARIABLE: &str = "STOMPEDE_LOG";

/// Crates that see payloads or credentials.
const CAPPED: [&str; 10] = [
    "tungstenite",
    "tokio_tungstenite",
    "hyper",
    "hyper_util",
    "h2",
    "rustls",
    "tokio_rustls",
    "axum",
    "fjall",
    "lsm_tree",
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// A writer that keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(log: &Log, filter: Option<&str>, write: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(log, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, write);
        let bytes = kept.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_filter_brings_payloads_into_the_log() {
        for filter in
            ["trace", "tungstenite=trace", "tungstenite::protocol=trace,trace", "hyper::proto=debug"]
        {
            let text = written(&Log::default(), Some(filter), || {
                tracing::debug!(target: "tungstenite::protocol", "payload s3cret");
                tracing::trace!(target: "tungstenite", "payload s3cret");
                tracing::debug!(target: "hyper::proto::h1::io", "authorization s3cret");
                tracing::info!(target: "tungstenite::protocol", "harmless");
                tracing::error!(target: "stompede", "ours");
            });
            assert!(!text.contains("s3cret"), "{filter}: {text}");
        }
    }

    #[test]
    fn the_level_is_the_configured_one_unless_the_variable_says_otherwise() {
        let line = || tracing::debug!(target: "stompede::broker", "details");
        assert_eq!(written(&Log::default(), None, line), "");
        assert_eq!(written(&Log::default(), Some(""), line), "");
        assert_ne!(written(&Log { level: LogLevel::Debug, ..Log::default() }, None, line), "");
        assert_ne!(written(&Log::default(), Some("stompede=debug"), line), "");
        assert!(matches!(init(&Log::default(), Some("stompede=loud")), Err(TelemetryError::Filter(_))));
    }

    #[test]
    fn json_lines_are_objects_with_their_fields_on_top() {
        let log = Log { format: LogFormat::Json, ..Log::default() };
        let text = written(&log, None, || tracing::info!(target: "stompede", port = 8080, "listening"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&line["level"], &line["port"]), (&"INFO".into(), &8080.into()));
    }
}
