//! What is printed: lines for people, or one line of JSON.

use serde_json::{Map, Value, json};

use crate::fleet::Span;
use crate::options::Options;
use crate::process;
use crate::shared::Wait;
use crate::tally::Tally;

/// Figures in the order in which they are to be read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(&'static str, Value)>,
    is_clean: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { figures: Vec::new(), is_clean: true }
    }

    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.figures.push((name, value.into()));
    }

    /// A number, rounded to what can be meant.
    pub(crate) fn number(&mut self, name: &'static str, value: f64) {
        let digits = 10_f64.powi(3 - value.abs().max(1e-9).log10().floor() as i32);
        let rounded = if value.abs() >= 1_000.0 { value.round() } else { (value * digits).round() / digits };
        self.add(name, rounded);
    }

    /// Throughput and what it cost.
    pub(crate) fn span(&mut self, span: &Span) {
        let (seconds, delivered) = (span.elapsed.as_secs_f64(), span.delivered as f64);
        self.number("seconds", seconds);
        self.add("deliveries", span.delivered);
        self.number("deliveries_per_second", delivered / seconds);
        if let Some(cpu) = span.server_cpu.map(|cpu| cpu.as_secs_f64()) {
            self.number("server_cpu_s", cpu);
            self.number("server_cpu_share", cpu / seconds);
            self.number("cpu_s_per_million", cpu * 1e6 / delivered.max(1.0));
        }
        self.number("load_cpu_share", span.load_cpu.as_secs_f64() / seconds);
    }

    /// What arrived, and what did not.
    pub(crate) fn tally(&mut self, tally: &Tally, sent: u64) {
        if !tally.latency.is_empty() {
            let latency = &tally.latency;
            self.number("latency_p50_ms", latency.ms(0.5));
            self.number("latency_p90_ms", latency.ms(0.9));
            self.number("latency_p99_ms", latency.ms(0.99));
            self.number("latency_p999_ms", latency.ms(0.999));
            self.number("latency_max_ms", latency.ms(1.0));
        }
        self.add("sent", sent);
        self.add("received", tally.received);
        self.add("events", tally.events);
        self.add("missing", tally.missing);
        self.add("doubled_or_out_of_order", tally.again);
        self.add("stray", tally.stray);
        self.add("errors", tally.errors);
        self.add("ended", tally.ended);
        self.require(tally.is_clean());
    }

    /// Without this the run is not clean.
    pub(crate) fn require(&mut self, is_so: bool) {
        self.is_clean &= is_so;
    }

    pub(crate) fn notes(&mut self, notes: &[String]) {
        if !notes.is_empty() {
            self.add("notes", json!(notes));
        }
    }

    pub(crate) fn memory(&mut self, options: &Options) {
        if let Some(memory) = options.pid.and_then(process::memory) {
            self.number("rss_mib", memory.now as f64 / MEBIBYTE);
            self.number("rss_peak_mib", memory.peak as f64 / MEBIBYTE);
        }
    }

    /// Prints it, and says whether all went well.
    pub(crate) fn print(mut self, options: &Options) -> bool {
        self.add("clean", self.is_clean);
        if options.json {
            println!(
                "{}",
                Value::Object(
                    self.figures
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<Map<_, _>>()
                )
            );
        } else {
            self.figures.iter().for_each(|(name, value)| println!("{:24} {value}", name.replace('_', " ")));
        }
        self.is_clean
    }
}

/// Milliseconds within which this share of the waits was over; NaN without any.
pub(crate) fn quantile(waits: &[Wait], share: f64, of: impl Fn(&Wait) -> u64) -> f64 {
    let mut times: Vec<u64> = waits.iter().map(of).collect();
    times.sort_unstable();
    let at = (times.len() as f64 * share).ceil() as usize;
    times.get(at.max(1) - 1).map_or(f64::NAN, |time| *time as f64 / 1e6)
}

/// Bytes.
pub(crate) const MEBIBYTE: f64 = 1_048_576.0;
