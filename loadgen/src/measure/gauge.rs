//! A value that is looked at from time to time.

/// A value looked at from time to time: first, last, smallest, largest, mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauge {
    samples: u64,
    first: f64,
    last: f64,
    min: f64,
    max: f64,
    sum: f64,
}

impl Gauge {
    /// Adds a look; `None` (could not be measured) adds nothing.
    pub fn record(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        self.merge(&Self {
            samples: 1,
            first: value,
            last: value,
            min: value,
            max: value,
            sum: value,
        });
    }

    /// Adds the looks of another gauge, taken to be later.
    pub fn merge(&mut self, later: &Self) {
        if later.samples == 0 {
            return;
        }
        if self.samples == 0 {
            *self = *later;
            return;
        }
        self.samples += later.samples;
        self.last = later.last;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
    }

    /// Number of looks.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// First value.
    pub fn first(&self) -> Option<f64> {
        self.known(self.first)
    }

    /// Last value.
    pub fn last(&self) -> Option<f64> {
        self.known(self.last)
    }

    /// Smallest value.
    pub fn min(&self) -> Option<f64> {
        self.known(self.min)
    }

    /// Largest value.
    pub fn max(&self) -> Option<f64> {
        self.known(self.max)
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        self.known(self.sum / self.samples.max(1) as f64)
    }

    /// Last less first.
    pub fn delta(&self) -> Option<f64> {
        self.known(self.last - self.first)
    }

    fn known(&self, value: f64) -> Option<f64> {
        (self.samples > 0).then_some(value)
    }
}
