//! Shipping a private key to a node: X25519 key agreement and password-protected PEM.
//!
//! The password of the PEM (RFC 1423, AES-256-CBC) is the raw 32-byte shared secret, as the original wants it.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use openssl::hash::MessageDigest;
use openssl::symm::Cipher;
use zeroize::Zeroizing;

use super::TrustError;

/// The secret half of a key agreement; each side makes one per exchange.
pub struct NodeSecret {
    private: PrivateKey,
    public_hex: String,
}

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSecret")
            .field("public", &self.public_hex)
            .finish_non_exhaustive()
    }
}

fn error(detail: impl fmt::Display) -> TrustError {
    TrustError::Ecdh(detail.to_string())
}

impl NodeSecret {
    /// A new secret from the randomness of the operating system.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate() -> Result<Self, TrustError> {
        Self::with(PrivateKey::generate(&X25519).map_err(error)?)
    }

    /// A known secret of 32 bytes.
    ///
    /// # Errors
    /// When it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrustError> {
        Self::with(PrivateKey::from_private_key(&X25519, bytes).map_err(error)?)
    }

    fn with(private: PrivateKey) -> Result<Self, TrustError> {
        let public = private.compute_public_key().map_err(error)?;
        Ok(Self {
            public_hex: hex::encode(public.as_ref()),
            private,
        })
    }

    /// The public half as 64 hexadecimal digits.
    #[must_use]
    pub fn public_hex(&self) -> &str {
        &self.public_hex
    }

    /// The secret shared with the holder of another public key, given as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the text is no public key or a point of low order, which would give a known secret.
    pub fn shared(&self, their_hex: &str) -> Result<Zeroizing<[u8; 32]>, TrustError> {
        let theirs = hex::decode(their_hex)
            .map_err(|e| error(format_args!("the public key is not hexadecimal: {e}")))?;
        if theirs.len() != 32 {
            return Err(error(format_args!(
                "the public key has {} bytes, wanted 32",
                theirs.len()
            )));
        }
        let failed =
            error("the public key cannot be used: it is no point of X25519, or one of low order");
        agree(
            &self.private,
            UnparsedPublicKey::new(&X25519, theirs),
            failed,
            |secret| {
                let mut shared = Zeroizing::new([0; 32]);
                if secret.len() != shared.len() {
                    return Err(error("the shared secret has an odd length"));
                }
                shared.copy_from_slice(secret);
                Ok(shared)
            },
        )
    }
}

const CIPHER: &str = "AES-256-CBC";
/// Bytes of the initialisation vector which also salt the derivation of the key.
const SALT: usize = 8;

/// Takes the password off a PEM block; its label becomes `RSA PRIVATE KEY` whatever it was, as in the original.
///
/// # Errors
/// When it is not such a PEM block or the password is wrong.
pub fn decrypt_pem(text: &str, shared: &[u8; 32]) -> Result<Zeroizing<String>, TrustError> {
    let block = pem::parse(text).map_err(error)?;
    let headers = block.headers();
    let info = headers.get("DEK-Info").filter(|_| {
        headers
            .get("Proc-Type")
            .is_some_and(|kind| kind.trim() == "4,ENCRYPTED")
    });
    let info = info.ok_or_else(|| error("the key is not encrypted"))?;
    let (name, iv) = info
        .split_once(',')
        .ok_or_else(|| error("DEK-Info names no initialisation vector"))?;
    if name.trim() != CIPHER {
        return Err(error(format_args!(
            "the key is encrypted with {:?}, wanted {CIPHER}",
            name.trim()
        )));
    }
    let iv = hex::decode(iv.trim()).map_err(error)?;
    if iv.len() != 16 {
        return Err(error("the initialisation vector has not 16 bytes"));
    }
    let key = derive(shared, &iv)?;
    let der = openssl::symm::decrypt(Cipher::aes_256_cbc(), &key, Some(&iv), block.contents())
        .map(Zeroizing::new)
        .map_err(|_| error("the key cannot be decrypted with the secret agreed on"))?;
    Ok(Zeroizing::new(super::keys::encode_pem(
        "RSA PRIVATE KEY",
        &der,
    )))
}

/// Protects a PEM block with a password. Its label stays.
///
/// # Errors
/// When it is not PEM or the cryptographic library fails.
pub fn encrypt_pem(text: &str, shared: &[u8; 32]) -> Result<String, TrustError> {
    let mut iv = [0; 16];
    aws_lc_rs::rand::fill(&mut iv).map_err(error)?;
    encrypt_pem_with_iv(text, shared, &iv)
}

fn encrypt_pem_with_iv(text: &str, shared: &[u8; 32], iv: &[u8; 16]) -> Result<String, TrustError> {
    let block = pem::parse(text).map_err(error)?;
    let key = derive(shared, iv)?;
    let sealed = openssl::symm::encrypt(Cipher::aes_256_cbc(), &key, Some(iv), block.contents())
        .map_err(error)?;
    let mut sealed = pem::Pem::new(block.tag(), sealed);
    let headers = sealed.headers_mut();
    headers.add("Proc-Type", "4,ENCRYPTED").map_err(error)?;
    headers
        .add("DEK-Info", &format!("{CIPHER},{}", hex::encode(iv)))
        .map_err(error)?;
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Ok(pem::encode_config(&sealed, config))
}

/// OpenSSL's derivation of a key from a password, with MD5 and one round.
fn derive(password: &[u8], iv: &[u8]) -> Result<Zeroizing<Vec<u8>>, TrustError> {
    let derived = openssl::pkcs5::bytes_to_key(
        Cipher::aes_256_cbc(),
        MessageDigest::md5(),
        password,
        iv.get(..SALT),
        1,
    );
    derived.map(|pair| Zeroizing::new(pair.key)).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real node accepted.
    fn vector() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/golden/ecdh-key-vector.json")).unwrap()
    }

    #[test]
    fn both_sides_agree_on_the_captured_secret() {
        let vector = vector();
        let text = |key: &str| vector[key].as_str().unwrap().to_owned();
        let secret =
            NodeSecret::from_bytes(&hex::decode(text("provisioner_ecdh_private")).unwrap())
                .unwrap();
        assert_eq!(secret.public_hex(), text("provisioner_ecdh_public"));
        let shared = secret.shared(&text("node_ecdh_public")).unwrap();
        assert_eq!(hex::encode(*shared), text("shared_secret"));

        let plain = decrypt_pem(&text("encrypted_key_pem"), &shared).unwrap();
        assert_eq!(*plain, text("plain_key_pem"));
        let iv: [u8; 16] = hex::decode(text("iv")).unwrap().try_into().unwrap();
        let sealed = encrypt_pem_with_iv(&plain, &shared, &iv).unwrap();
        assert_eq!(sealed, text("encrypted_key_pem"));
    }

    #[test]
    fn the_known_answer_of_x25519() {
        let node = NodeSecret::from_bytes(&(0..32).collect::<Vec<u8>>()).unwrap();
        let provisioner = NodeSecret::from_bytes(&(32..64).collect::<Vec<u8>>()).unwrap();
        let want = "9663aa1da97e848a914a436d04163dfbb89178f107f1b5b77ed3854203382854";
        assert_eq!(
            hex::encode(*node.shared(provisioner.public_hex()).unwrap()),
            want
        );
        assert_eq!(
            hex::encode(*provisioner.shared(node.public_hex()).unwrap()),
            want
        );
    }

    #[test]
    fn bad_input_is_refused() {
        let secret = NodeSecret::generate().unwrap();
        for theirs in ["", "zz", "00", &"00".repeat(32)] {
            assert_eq!(
                secret.shared(theirs).unwrap_err().code(),
                "trust.ecdh",
                "{theirs:?}"
            );
        }
        let other = NodeSecret::generate().unwrap();
        let shared = secret.shared(other.public_hex()).unwrap();
        let plain = vector()["plain_key_pem"].as_str().unwrap().to_owned();
        assert!(
            decrypt_pem(&plain, &shared)
                .unwrap_err()
                .to_string()
                .contains("not encrypted")
        );
        let sealed = encrypt_pem(&plain, &shared).unwrap();
        assert_eq!(*decrypt_pem(&sealed, &shared).unwrap(), plain);
        assert!(decrypt_pem(&sealed, &[7; 32]).is_err());
        assert!(decrypt_pem(&sealed.replace("AES-256-CBC,", "AES-256-CBC,00"), &shared).is_err());
        assert!(decrypt_pem("hello", &shared).is_err());
    }
}
