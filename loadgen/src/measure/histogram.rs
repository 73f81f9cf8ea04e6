//! A mergeable distribution of durations, and the percentiles it is honest enough to give.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The largest value told apart, in microseconds (120 s); longer ones are counted as this.
const HIGHEST_US: u64 = 120_000_000;
/// Significant decimal digits kept: a value is right to one part in a thousand.
const DIGITS: u8 = 3;

/// A distribution of durations in microseconds: 1 µs to 120 s at three digits, about 144 KiB.
///
/// It is kept per worker and operation, never per node. On the wire and in files it is the base64
/// of HdrHistogram's V2 compressed form, which any HdrHistogram library reads.
#[derive(Clone, PartialEq)]
pub struct Hist(Histogram<u64>);

impl Hist {
    /// An empty distribution.
    pub fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the three constants are in range, which is all this checks"
        )]
        Self(Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).expect("bounds are constants"))
    }

    /// Counts one duration.
    pub fn record(&mut self, value: Duration) {
        self.record_us(super::micros(value));
    }

    /// Counts one duration given in microseconds.
    pub fn record_us(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    /// Adds every sample of `other`.
    pub fn merge(&mut self, other: &Self) {
        // The bounds are those of this type or were read from a foreign file; samples beyond
        // ours are clamped one by one, so a merge cannot fail.
        if self.0.add(&other.0).is_err() {
            for cell in other.0.iter_recorded() {
                self.0
                    .saturating_record_n(cell.value_iterated_to(), cell.count_at_value());
            }
        }
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets every sample, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The smallest sample in microseconds.
    pub fn min(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.min())
    }

    /// The largest sample in microseconds (the upper edge of its bucket, at most 0.1 % above).
    pub fn max(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.max())
    }

    /// The arithmetic mean in microseconds.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.0.mean())
    }

    /// The value at `quantile`, in microseconds; `None` when the sample is too small to tell
    /// (see [`Quantile::samples_needed`]).
    pub fn quantile(&self, quantile: Quantile) -> Option<u64> {
        (self.count() >= quantile.samples_needed())
            .then(|| self.0.value_at_quantile(quantile.as_f64()))
    }

    /// The usual percentiles, each refused where the sample is too small.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count(),
            p50: self.quantile(Quantile::P50),
            p90: self.quantile(Quantile::P90),
            p99: self.quantile(Quantile::P99),
            p999: self.quantile(Quantile::P999),
            max: self.max(),
        }
    }

    /// The underlying histogram, for writers of HdrHistogram's own formats.
    pub fn inner(&self) -> &Histogram<u64> {
        &self.0
    }

    /// Base64 of HdrHistogram's V2 compressed form.
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail; an empty string is refused on reading.
        let written = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        debug_assert!(written.is_ok());
        STANDARD.encode(bytes)
    }

    /// Reads base64 of HdrHistogram's V2 form, compressed or not.
    ///
    /// # Errors
    /// A message naming what is wrong with the text.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|error| format!("the histogram is not base64: {error}"))?;
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("not an HdrHistogram V2 record: {error}"))?;
        let mut hist = Self::new();
        hist.merge(&Self(read));
        Ok(hist)
    }
}

impl Default for Hist {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hist").field(&self.quantiles()).finish()
    }
}

impl Serialize for Hist {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for Hist {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).map_err(serde::de::Error::custom)
    }
}

/// A quantile, kept in thousandths of a percent so that `p99.9` is exact and comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantile(u32);

impl Quantile {
    /// The median.
    pub const P50: Self = Self(50_000);
    /// Nine of ten samples are at or below it.
    pub const P90: Self = Self(90_000);
    /// 99 of 100 samples are at or below it.
    pub const P99: Self = Self(99_000);
    /// 999 of 1,000 samples are at or below it.
    pub const P999: Self = Self(99_900);

    /// Reads `p50`, `p99`, `p99.9`: above 0, below 100, at most three decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('p')?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || whole.len() > 2 || fraction.len() > 3 || digits.ends_with('.') {
            return None;
        }
        if !whole
            .chars()
            .chain(fraction.chars())
            .all(|c| c.is_ascii_digit())
        {
            return None;
        }
        let value: u32 = format!("{whole}{fraction:0<3}").parse().ok()?;
        (value > 0).then_some(Self(value))
    }

    /// As a fraction of one.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 100_000.0
    }

    /// How many samples make this quantile worth printing: 10 / (1 − q), 1,000 for p99.
    pub fn samples_needed(self) -> u64 {
        1_000_000u64.div_ceil(u64::from(100_000 - self.0))
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        write!(f, "p{}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Percentiles of one distribution in microseconds; `None` where the sample is too small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Number of samples.
    pub count: u64,
    /// Median (needs 20 samples).
    pub p50: Option<u64>,
    /// 90th percentile (needs 100 samples).
    pub p90: Option<u64>,
    /// 99th percentile (needs 1,000 samples).
    pub p99: Option<u64>,
    /// 99.9th percentile (needs 10,000 samples).
    pub p999: Option<u64>,
    /// Largest sample.
    pub max: Option<u64>,
}
