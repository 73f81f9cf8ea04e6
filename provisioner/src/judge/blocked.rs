//! Keys that are known to others, by lists that the site names: of its own incidents, or the
//! lists of what Debian's OpenSSL of 2006 to 2008 made (CVE-2008-0166).

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use openssl::sha::sha1;

use super::key::PublicKey;
use crate::code::{Code, Refusal};

/// The longest list that is read, bytes: over a million keys.
const LONGEST: u64 = 64 << 20;

/// Keys that are never certified; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockedKeys(Arc<Lists>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lists {
    /// SHA-256 of the public key (SPKI).
    spki: HashSet<[u8; 32]>,
    /// The last half of the SHA-1 of what `openssl rsa -modulus` prints, as in the files of Debian's
    /// package `openssl-blacklist`.
    modulus: HashSet<[u8; 10]>,
}

impl BlockedKeys {
    /// Reads lists: on each line the SHA-256 of a public key (SPKI), 64 hexadecimal digits, or 20
    /// digits as Debian's lists have them. Empty lines and what follows `#` are passed over.
    ///
    /// # Errors
    /// What is wrong with a file, with its line.
    pub fn read<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Self, String> {
        let mut lists = Lists::default();
        for file in files {
            let file = file.as_ref();
            let failed = |error: std::io::Error| format!("names {}: {error}", file.display());
            let open = File::open(file).map_err(failed)?;
            let size = open.metadata().map_err(failed)?.len();
            if size > LONGEST {
                let file = file.display();
                return Err(format!(
                    "names {file}: {size} bytes; {LONGEST} are the most"
                ));
            }
            for (number, line) in (1..).zip(BufReader::new(open.take(LONGEST)).lines()) {
                let line = line.map_err(failed)?;
                if !lists.take(line.split('#').next().unwrap_or_default().trim()) {
                    return Err(format!(
                        "names {}, whose line {number} is no key: write the SHA-256 of its SPKI (64 \
                         hexadecimal digits), or 20 digits as in openssl-blacklist",
                        file.display()
                    ));
                }
            }
        }
        Ok(Self(Arc::new(lists)))
    }

    /// Judges a key whose SPKI has this SHA-256.
    ///
    /// # Errors
    /// `key.weak`.
    pub(super) fn judge(&self, key: &PublicKey<'_>, spki_sha256: &[u8; 32]) -> Result<(), Refusal> {
        let listed = self.0.spki.contains(spki_sha256)
            || (key.kind.is_rsa()
                && !self.0.modulus.is_empty()
                && self.0.modulus.contains(&debian(key.modulus)));
        if !listed {
            return Ok(());
        }
        let says = "the key is on a list of keys that others know ([csr] blocked_keys); the node must \
                    make a new one (rule 11)";
        Err(Refusal::new(Code::KeyWeak, says))
    }
}

impl Lists {
    /// Takes what a line says; false where it says nothing that is known.
    fn take(&mut self, line: &str) -> bool {
        let (mut spki, mut modulus) = ([0; 32], [0; 10]);
        match line.len() {
            0 => true,
            64 => hex::decode_to_slice(line, &mut spki).is_ok_and(|()| {
                self.spki.insert(spki);
                true
            }),
            20 => hex::decode_to_slice(line, &mut modulus).is_ok_and(|()| {
                self.modulus.insert(modulus);
                true
            }),
            _ => false,
        }
    }
}

/// How Debian's lists know an RSA key.
fn debian(modulus: &[u8]) -> [u8; 10] {
    let printed = format!("Modulus={}\n", hex::encode_upper(modulus));
    let mut last = [0; 10];
    last.copy_from_slice(&sha1(printed.as_bytes())[10..]);
    last
}
