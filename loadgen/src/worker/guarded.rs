//! A value behind a lock that is only ever held for a few instructions.

use std::sync::{Mutex, PoisonError};

/// A small value shared by many tasks. The lock is never held across an await, as it is given to
/// a closure; a panic in one holder leaves the value as it was, which for counters is fine.
#[derive(Debug, Default)]
pub struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    /// Guards a value.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Does something to the value.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut value)
    }
}
