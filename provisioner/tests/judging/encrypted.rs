//! The built-in authority with an encrypted key.

use std::os::unix::fs::PermissionsExt as _;

use openssl::pkey::PKey;
use openssl::symm::Cipher;
use provisioner::ca::Authority;
use provisioner::code::Code;

use crate::authority::make;

#[test]
fn an_encrypted_key_opens_with_its_passphrase_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = make(folder.path());
    let plain = std::fs::read(&settings.key).unwrap();
    let unneeded = Authority::open(&settings, Some("open sesame")).unwrap_err();
    assert!(unneeded.message.contains("not encrypted"), "{unneeded}");

    let key = PKey::private_key_from_pem(&plain).unwrap();
    let pkcs8 = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"open sesame");
    let legacy = key
        .ec_key()
        .unwrap()
        .private_key_to_pem_passphrase(Cipher::aes_256_cbc(), b"open sesame");
    for encrypted in [pkcs8.unwrap(), legacy.unwrap()] {
        std::fs::write(&settings.key, encrypted).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&settings.key, mode).unwrap();
        let authority = Authority::open(&settings, Some("open sesame")).unwrap();
        authority.self_test(jiff::Timestamp::now()).unwrap();
        for (passphrase, says) in [
            (Some("open barley"), "does not open"),
            (None, "key_passphrase_file"),
        ] {
            let refusal = Authority::open(&settings, passphrase).unwrap_err();
            assert_eq!(refusal.code, Code::CaConfig);
            let told = &refusal.message;
            assert!(
                told.contains(says) && told.contains("intermediate.key"),
                "{told}"
            );
            assert!(!told.contains("barley"), "{told}");
        }
    }
}
