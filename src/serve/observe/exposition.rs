//! Counters and histograms, and their text in the Prometheus exposition format 0.0.4.
//!
//! Ours, because every series is known when the program is written: cardinality is bounded by construction, and counting is
//! one relaxed addition without a look-up.

use std::fmt::{Display, Write};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::serve::named::Named;

/// What can be a metric: it has a type, and samples.
pub trait Metric {
    /// The type's name in the exposition format.
    const KIND: &'static str;

    /// Writes its samples, each with `labels`.
    fn write(&self, samples: &mut Samples, labels: &[(&str, &str)]);
}

/// Declares a struct of metrics: a row for each, whose doc comment is also the metric's help text.
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $vis:vis struct $Name:ident {
            $(#[doc = $help:literal] $field:ident: $Kind:ty $(= $new:expr)? => $metric:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $Name { $(#[doc = $help] pub $field: $Kind,)+ }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: metrics!(@new $($new)?),)+ }
            }
        }

        impl $Name {
            /// Writes every metric, each with the samples of `all` and their labels.
            pub fn write_all<'a>(
                text: &mut $crate::serve::observe::exposition::Exposition,
                all: impl Iterator<Item = (&'a [(&'a str, &'a str)], &'a Self)> + Clone,
            ) {
                use $crate::serve::observe::exposition::Metric;
                $({
                    let mut samples = text.metric($metric, <$Kind>::KIND, $help.trim_ascii());
                    for (labels, series) in all.clone() {
                        series.$field.write(&mut samples, labels);
                    }
                })+
            }
        }
    };
    (@new) => { Default::default() };
    (@new $new:expr) => { $new };
}

pub(crate) use metrics;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Metric for Counter {
    const KIND: &'static str = "counter";

    fn write(&self, samples: &mut Samples, labels: &[(&str, &str)]) {
        samples.sample(labels, self.get());
    }
}

/// Most values that the label of a [`CounterSet`] of this program has.
const MAX_VALUES: usize = 5;

/// A counter for each value of a label.
#[derive(Debug)]
pub struct CounterSet<L> {
    label: &'static str,
    counters: [Counter; MAX_VALUES],
    values: PhantomData<L>,
}

impl<L: Named> CounterSet<L> {
    /// Counters at 0, told apart by `label`.
    pub fn new(label: &'static str) -> Self {
        const { assert!(L::ALL.len() <= MAX_VALUES) };
        Self { label, counters: Default::default(), values: PhantomData }
    }

    /// Adds one to the counter of `value`.
    pub fn inc(&self, value: L) {
        self.add(value, 1);
    }

    /// Adds `count` to the counter of `value`.
    pub fn add(&self, value: L, count: u64) {
        self.counters[value.index()].add(count);
    }

    /// The counter of `value`.
    #[cfg(test)]
    pub fn get(&self, value: L) -> u64 {
        self.counters[value.index()].get()
    }
}

impl<L: Named> Metric for CounterSet<L> {
    const KIND: &'static str = Counter::KIND;

    fn write(&self, samples: &mut Samples, labels: &[(&str, &str)]) {
        for (value, counter) in L::ALL.iter().zip(&self.counters) {
            samples.sample(&[labels, &[(self.label, value.name())]].concat(), counter.get());
        }
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `by`, which may be negative.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Adds one until the guard is dropped, however that comes about.
    pub fn track(&self) -> Tracked<'_> {
        self.add(1);
        Tracked(self)
    }
}

impl Metric for Gauge {
    const KIND: &'static str = "gauge";

    fn write(&self, samples: &mut Samples, labels: &[(&str, &str)]) {
        samples.sample(labels, self.get());
    }
}

/// One that is counted in a [`Gauge`] as long as it lives.
#[derive(Debug)]
pub struct Tracked<'a>(&'a Gauge);

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// Most bounds that a [`Histogram`] of this program has.
const MAX_BOUNDS: usize = 16;

/// Counts of values between fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds; not cumulative, that is done when they are written.
    counts: [AtomicU64; MAX_BOUNDS + 1],
    /// The sum in millionths: seconds, reviews and probabilities all fit, and adding needs no loop.
    micro_sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram with these upper bounds, ascending, at most 16.
    pub const fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() <= MAX_BOUNDS);
        Self { bounds, counts: [const { AtomicU64::new(0) }; MAX_BOUNDS + 1], micro_sum: AtomicU64::new(0) }
    }

    /// Counts `value`.
    pub fn observe(&self, value: f64) {
        let bin = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bin].fetch_add(1, Relaxed);
        self.micro_sum.fetch_add((value * 1e6 + 0.5) as u64, Relaxed);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Counts a duration in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }
}

impl Metric for Histogram {
    const KIND: &'static str = "histogram";

    fn write(&self, samples: &mut Samples, labels: &[(&str, &str)]) {
        samples.histogram(labels, self);
    }
}

/// The text of `/metrics` in the making.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a metric: its help and its type; samples follow.
    pub fn metric(&mut self, name: &'static str, kind: &'static str, help: &'static str) -> Samples<'_> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Samples { text: &mut self.0, name }
    }

    /// A metric of one sample without labels.
    pub fn single(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        value: impl Display,
    ) {
        self.metric(name, kind, help).sample(&[], value);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// The samples of one metric.
pub struct Samples<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    /// One sample; label values must need no quoting (they are names of ours, see `check_model_name`).
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.write("", labels, None, value)
    }

    /// The buckets, sum and count of a histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        let mut total = 0;
        for (bin, bound) in histogram.bounds.iter().copied().chain([f64::INFINITY]).enumerate() {
            total += histogram.counts[bin].load(Relaxed);
            self.write("_bucket", labels, Some(bound), total);
        }
        self.write("_sum", labels, None, histogram.micro_sum.load(Relaxed) as f64 / 1e6);
        self.write("_count", labels, None, total)
    }

    fn write(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        le: Option<f64>,
        value: impl Display,
    ) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let mut separator = '{';
        for (label, value) in labels {
            let _ = write!(self.text, "{separator}{label}=\"{value}\"");
            separator = ',';
        }
        match le {
            Some(f64::INFINITY) => drop(write!(self.text, "{separator}le=\"+Inf\"}}")),
            Some(bound) => drop(write!(self.text, "{separator}le=\"{bound}\"}}")),
            None if separator == ',' => self.text.push('}'),
            None => {}
        }
        let _ = writeln!(self.text, " {value}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_as_prometheus_reads_it() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        [0.25, 0.5, 0.75, 2.0].into_iter().for_each(|value| histogram.observe(value));
        let mut text = Exposition::default();
        text.metric("a_seconds", "histogram", "A.").histogram(&[("route", "/x")], &histogram);
        text.single("b", "gauge", "B.", 1.5);
        assert_eq!(
            text.finish(),
            "# HELP a_seconds A.\n# TYPE a_seconds histogram\n\
             a_seconds_bucket{route=\"/x\",le=\"0.5\"} 2\na_seconds_bucket{route=\"/x\",le=\"1\"} 3\n\
             a_seconds_bucket{route=\"/x\",le=\"+Inf\"} 4\na_seconds_sum{route=\"/x\"} 3.5\n\
             a_seconds_count{route=\"/x\"} 4\n# HELP b B.\n# TYPE b gauge\nb 1.5\n"
        );
    }

    #[test]
    fn what_is_tracked_is_given_back() {
        let gauge = Gauge::default();
        {
            let _one = gauge.track();
            assert_eq!(gauge.get(), 1);
        }
        assert_eq!(gauge.get(), 0);
    }
}
