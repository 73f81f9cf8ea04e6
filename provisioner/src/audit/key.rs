//! The key that signs checkpoints: Ed25519, made once, beside the log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pem::Pem;
use zeroize::Zeroizing;

use super::AuditError;
use crate::whole;

/// What precedes the 32 bytes of a key in its SPKI (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Signs checkpoints.
#[derive(Debug)]
pub(super) struct Signer {
    pair: Ed25519KeyPair,
    id: String,
}

/// Judges checkpoints.
#[derive(Debug)]
pub(super) struct Verifier {
    key: UnparsedPublicKey<Vec<u8>>,
    id: String,
}

/// What a checkpoint signs: everything up to the line before it.
fn message(seq: u64, prev: &str) -> Vec<u8> {
    format!("muster audit checkpoint 1\n{seq}\n{prev}\n").into_bytes()
}

/// Where the public key lies.
pub(super) fn public_in(dir: &Path) -> PathBuf {
    dir.join("signing.pub")
}

fn id(spki: &[u8]) -> String {
    hex::encode(digest(&SHA256, spki))
}

impl Signer {
    /// The key of the log in `dir`, made when there is none. The public half lies
    /// beside it, to be kept elsewhere too.
    pub(super) fn load_or_make(dir: &Path) -> Result<Self, AuditError> {
        let file = dir.join("signing.key");
        let failed = |error: &dyn std::fmt::Display| AuditError::new(&file, error);
        let pair = match fs::read(&file) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let mode = fs::metadata(&file).map_err(|e| failed(&e))?.permissions();
                if mode.mode() & 0o077 != 0 {
                    return Err(failed(&"others can read it: chmod 600"));
                }
                let der = pem::parse(&*text).map_err(|e| failed(&e))?;
                Ed25519KeyPair::from_pkcs8(der.contents()).map_err(|e| failed(&e))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pair = Ed25519KeyPair::generate().map_err(|e| failed(&e))?;
                let der = pair.to_pkcs8v1().map_err(|e| failed(&e))?;
                let text = Zeroizing::new(pem::encode(&Pem::new("PRIVATE KEY", der.as_ref())));
                whole::exchange(&file, text.as_bytes(), 0o600).map_err(|e| failed(&e))?;
                pair
            }
            Err(error) => return Err(failed(&error)),
        };
        let spki = [&SPKI[..], pair.public_key().as_ref()].concat();
        let public = public_in(dir);
        if !public.exists() {
            let text = pem::encode(&Pem::new("PUBLIC KEY", spki.as_slice()));
            whole::exchange(&public, text.as_bytes(), 0o644)
                .map_err(|e| AuditError::new(&public, e))?;
        }
        let id = id(&spki);
        Ok(Self { pair, id })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Signs what lies before the checkpoint of this number.
    pub(super) fn sign(&self, seq: u64, prev: &str) -> String {
        STANDARD.encode(self.pair.sign(&message(seq, prev)))
    }
}

impl Verifier {
    /// Reads a public key, PEM.
    pub(super) fn load(file: &Path) -> Result<Self, AuditError> {
        let failed = |error: &dyn std::fmt::Display| AuditError::new(file, error);
        let text = fs::read(file).map_err(|e| failed(&e))?;
        let der = pem::parse(text).map_err(|e| failed(&e))?;
        let key = der
            .contents()
            .strip_prefix(&SPKI[..])
            .filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| failed(&"it is no Ed25519 public key in PEM"))?;
        Ok(Self {
            id: id(der.contents()),
            key: UnparsedPublicKey::new(&ED25519, key.to_vec()),
        })
    }

    /// Whether this key signed the checkpoint; an error says why it did not.
    pub(super) fn judge(
        &self,
        seq: u64,
        prev: &str,
        key: &str,
        signature: &str,
    ) -> Result<(), String> {
        if key != self.id {
            return Err(format!(
                "it is signed by another key ({key}) than {}",
                self.id
            ));
        }
        let signature = STANDARD.decode(signature).unwrap_or_default();
        let good = self.key.verify(&message(seq, prev), &signature);
        good.map_err(|_| {
            "its signature does not fit what is before it: lines were changed and hashed anew"
                .to_owned()
        })
    }
}
