//! The words of an enrolment: its eight steps and the states it can be in.
//!
//! The same words name modules, metric labels, log fields, histogram keys and
//! columns.

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().copied().find(|w| w.as_str() == text);
                found.ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|w| w.as_str()).collect();
                    format!("{text:?} is none of {}", words.join(", "))
                })
            }
        }
    };
}

pub(crate) use words;

words! {
    /// The way from announced to confirmed.
    Step {
        /// An event or a sweep told of the node.
        Arrive = "arrive",
        /// It waited for a place.
        Queue = "queue",
        /// Its token and inventory were looked at.
        Inspect = "inspect",
        /// It made a key and a request, and the request was judged.
        Csr = "csr",
        /// An authority signed, and the certificate was judged.
        Sign = "sign",
        /// It was sent certificate, settings and policies.
        Configure = "configure",
        /// It was told to restart.
        Restart = "restart",
        /// It was seen on the production network.
        Confirm = "confirm",
    }
}

words! {
    /// What an enrolment is doing.
    State {
        /// Waiting for a place.
        Queued = "queued",
        /// Somewhere between `queue` and `confirm`.
        Working = "working",
        /// Put off, to be tried again.
        Parked = "parked",
        /// Frozen until a person decides.
        Quarantined = "quarantined",
        /// Refused; the node may come back with another request.
        Refused = "refused",
        /// Seen on the production network.
        Confirmed = "confirmed",
        /// Never to be enrolled again.
        Banned = "banned",
        /// At the end of its life: it is not enrolled again either.
        Decommissioned = "decommissioned",
    }
}

impl State {
    /// What a person has ended for good: it beats everything and is never pruned.
    #[must_use]
    pub const fn is_tombstone(self) -> bool {
        matches!(self, Self::Banned | Self::Decommissioned)
    }
}

impl Step {
    /// Position in the flow, counting from 0.
    #[must_use]
    pub const fn index(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_in_every_form() {
        for &step in Step::ALL {
            assert_eq!(step.as_str().parse(), Ok(step));
            assert_eq!(serde_json::to_value(step).ok(), Some(step.as_str().into()));
        }
        for &state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(
                serde_json::to_value(state).ok(),
                Some(state.as_str().into())
            );
        }
        assert!(
            "rejected"
                .parse::<State>()
                .is_err_and(|e| e.contains("refused"))
        );
    }
}
