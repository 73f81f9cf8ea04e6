//! The PIN of a token, which is never an argument itself: everybody on a machine sees those.

use std::path::PathBuf;

use anyhow::Context;

use crate::ca::pkcs11::Pin;
use crate::secret::Secret;

/// Where the PIN of a token is
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PinArgs {
    /// A file with the PIN of the token, in its first line
    #[arg(long, value_name = "FILE", conflicts_with = "key_pin_env")]
    pub key_pin_file: Option<PathBuf>,
    /// The environment variable that holds the PIN of the token
    #[arg(long, value_name = "VARIABLE")]
    pub key_pin_env: Option<String>,
}

impl PinArgs {
    /// Where it is.
    ///
    /// # Errors
    /// When the variable is not there.
    pub fn pin(&self) -> anyhow::Result<Pin> {
        match (&self.key_pin_file, &self.key_pin_env) {
            (Some(file), _) => Ok(Pin::File(file.clone())),
            (None, Some(name)) => {
                let pin = std::env::var(name).with_context(|| format!("--key-pin-env {name}"))?;
                Ok(Pin::Text(Secret::new(pin)))
            }
            (None, None) => Ok(Pin::None),
        }
    }

    /// The same as a line of the configuration.
    #[must_use]
    pub fn setting(&self) -> String {
        match (&self.key_pin_file, &self.key_pin_env) {
            (Some(file), _) => format!("key_pin_file = {file:?}\n"),
            (None, Some(name)) => format!("key_pin_env = {name:?}\n"),
            (None, None) => String::new(),
        }
    }
}
