//! Certificates: the built-in authority that makes them and the judgement of every one returned.
//!
//! [`authority`] signs with an intermediate, [`init`] makes a root and an intermediate,
//! [`judgement`] looks at what any authority returned, [`trust`] is what it is held against. The
//! key that signs is read from a file, or stays in a token ([`pkcs11`]).

pub mod authority;
pub mod init;
pub mod judgement;
mod key;
mod keyfile;
pub mod pkcs11;
pub mod trust;

pub use authority::{Authority, AuthoritySettings, SignedList, ToBeSigned};
pub use judgement::{CertificatePolicy, JudgedChain, judge_chain};
pub use key::KeySource;
pub use trust::TrustStore;

/// Reads a file that nobody but its owner may read.
///
/// # Errors
/// `ca.config`, naming the file and what to do.
pub(crate) fn read_secret(
    path: &std::path::Path,
) -> Result<zeroize::Zeroizing<String>, crate::code::Refusal> {
    keyfile::read(path)
}

/// Writes a file that only its owner may read and that must not exist yet.
///
/// # Errors
/// [`std::io::ErrorKind::AlreadyExists`] when there is one, and whatever else the system says.
pub(crate) fn write_secret(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    keyfile::create(path, text, 0o600)
}
