//! Prometheus's text format: what a page of metrics is written in.
//!
//! Of our own, for it is a few lines: everything here is read at the moment of the scrape, so a library's registry,
//! families and atomics would be filled anew each time only to be printed. Labels are our own words and need no escape.

use std::fmt::{Display, Write};

use crate::broker::counters::{DURATION_BOUNDS_NS, Durations};

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

/// A histogram of that page, once for each word of a label.
#[derive(Debug)]
pub(super) struct Histograms<'a> {
    family: Family<'a>,
    label: &'static str,
}

/// A metric of that page.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    /// A number that only grows; its name ends with `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// A number that goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// How many took how long; in seconds, as all durations are.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        parts: impl Iterator<Item = &'a Durations>,
    ) {
        let mut counts = [0; DURATION_BOUNDS_NS.len() + 1];
        let mut sum_ns = 0;
        for part in parts {
            part.counts().zip(&mut counts).for_each(|(count, sum)| *sum += count);
            sum_ns += part.sum_ns();
        }
        let family = self.family(name, "histogram", help);
        let bounds = DURATION_BOUNDS_NS.iter().map(|ns| seconds(*ns).to_string());
        let mut total = 0;
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
            total += count;
            let _ = writeln!(family.page, "{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(family.page, "{name}_sum {}\n{name}_count {total}", seconds(sum_ns));
    }

    /// Several histograms with one name.
    pub(super) fn histogram_by(
        &mut self,
        name: &'static str,
        help: &str,
        label: &'static str,
    ) -> Histograms<'_> {
        Histograms { family: self.family(name, "histogram", help), label }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: &mut self.0, name }
    }
}

impl Histograms<'_> {
    /// One of them: how many belong in each bucket and in none before, and the sum of all, seconds.
    pub(super) fn of(&mut self, word: &str, bounds: &[f64], counts: impl Iterator<Item = u64>, sum: f64) {
        let Self { family: Family { page, name }, label } = self;
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (bound, count) in bounds.zip(counts) {
            total += count;
            let _ = writeln!(page, "{name}_bucket{{{label}=\"{word}\",le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(page, "{name}_sum{{{label}=\"{word}\"}} {sum}");
        let _ = writeln!(page, "{name}_count{{{label}=\"{word}\"}} {total}");
    }
}

impl Family<'_> {
    /// Its only number.
    pub(super) fn is(self, value: impl Display) {
        let _ = writeln!(self.page, "{} {value}", self.name);
    }

    /// One of its numbers.
    pub(super) fn of(&mut self, label: &str, word: impl Display, value: impl Display) -> &mut Self {
        let _ = writeln!(self.page, "{}{{{label}=\"{word}\"}} {value}", self.name);
        self
    }

    /// One of its numbers, by two labels.
    pub(super) fn of_both(&mut self, [one, other]: [(&str, &str); 2], value: impl Display) -> &mut Self {
        let _ = writeln!(
            self.page,
            "{}{{{}=\"{}\",{}=\"{}\"}} {value}",
            self.name, one.0, one.1, other.0, other.1
        );
        self
    }
}

/// Nanoseconds in seconds.
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.gauge("a", "What it is.").is(1.5);
        page.counter("b_total", "By what.").of("c", "d", 1).of_both([("c", "e"), ("f", "g")], 2);
        let text = "# HELP a What it is.\n# TYPE a gauge\na 1.5\n# HELP b_total By what.\n# TYPE b_total counter\n\
            b_total{c=\"d\"} 1\nb_total{c=\"e\",f=\"g\"} 2\n";
        assert_eq!(page.finish(), text);
    }

    #[test]
    fn buckets_of_a_histogram_count_all_that_are_shorter_over_all_workers() {
        let workers = [(); 2].map(|()| Durations::default());
        for (worker, ns) in [(0, 900), (0, 1_000), (1, 1_001), (1, 20_000), (1, 1_000_000_000)] {
            workers[worker].record(ns);
        }
        let mut page = Page::default();
        page.histogram("a_seconds", "How long.", workers.iter());
        let text = page.finish();
        for line in [
            "a_seconds_bucket{le=\"0.000001\"} 2",
            "a_seconds_bucket{le=\"0.000005\"} 3",
            "a_seconds_bucket{le=\"0.00005\"} 4",
            "a_seconds_bucket{le=\"0.1\"} 4",
            "a_seconds_bucket{le=\"+Inf\"} 5",
            "a_seconds_sum 1.000022901",
            "a_seconds_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
