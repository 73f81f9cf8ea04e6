//! Whether nodes can be enrolled, and what is missing when they cannot.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What has to be there before nodes can be enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Ledger and audit log can be written.
    Ledger,
    /// The hook passed its self-test.
    Hook,
    /// The provisioning network is connected.
    Provisioning,
    /// The production network is connected.
    Production,
    /// It is known who else enrols here, and a shared ledger can be reached.
    Group,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Ledger,
        Self::Hook,
        Self::Provisioning,
        Self::Production,
        Self::Group,
    ];
}

/// The parts that are missing, each with the reason.
#[derive(Debug)]
pub struct Readiness(Mutex<BTreeMap<Part, String>>);

impl Default for Readiness {
    fn default() -> Self {
        let starting = |part| (part, "not tried yet".to_owned());
        let parts = Part::ALL;
        Self(Mutex::new(parts.map(starting).into()))
    }
}

impl Readiness {
    /// Nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.locked().is_empty()
    }

    /// What is missing, a line each.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let line = |(part, why): (&Part, &String)| {
            let part = match part {
                Part::Ledger => "ledger",
                Part::Hook => "hook",
                Part::Provisioning => "provisioning network",
                Part::Production => "production network",
                Part::Group => "group",
            };
            format!("{part}: {why}")
        };
        self.locked().iter().map(line).collect()
    }

    /// The part is there; says whether that is news.
    pub fn met(&self, part: Part) -> bool {
        self.locked().remove(&part).is_some()
    }

    /// The part is missing; says whether that is news.
    pub fn missed(&self, part: Part, why: impl Into<String>) -> bool {
        let why = why.into();
        self.locked().insert(part, why.clone()) != Some(why)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Part, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_nothing_is_missing() {
        let ready = Readiness::default();
        assert!(!ready.is_ready());
        for part in Part::ALL {
            assert!(ready.met(part));
        }
        assert!(ready.is_ready());
        assert!(ready.missed(Part::Hook, "gone"));
        assert!(!ready.missed(Part::Hook, "gone"));
        assert_eq!(ready.missing(), ["hook: gone"]);
    }
}
