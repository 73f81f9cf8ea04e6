//! Certificates of one test: a root, from it the broker's and the caller's, and
//! the service's intermediate by `provisioner ca init`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};

use super::{assert_ok, provisioner};

/// Files of one test's authority.
pub(crate) struct Pki {
    dir: PathBuf,
    root: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes everything in `dir`.
    pub(crate) fn make(dir: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named("Test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        write(
            dir,
            "given-root.pem",
            &params.self_signed(&key).unwrap().pem(),
        );
        write(dir, "given-root.key", &key.serialize_pem());
        let done = provisioner()
            .args([
                "ca",
                "init",
                "--root",
                "given-root.pem",
                "--root-key",
                "given-root.key",
            ])
            .current_dir(dir)
            .output()
            .unwrap();
        assert_ok(&done);
        let pki = Self {
            dir: dir.to_owned(),
            root: Issuer::new(params, key),
        };
        pki.broker();
        pki.caller("provisioner.mcollective");
        pki
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn broker(&self) {
        let mut params = named("broker");
        let localhost = "localhost".try_into().unwrap();
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        params.subject_alt_names = vec![SanType::DnsName(localhost), SanType::IpAddress(loopback)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("broker", &params, &KeyPair::generate().unwrap());
    }

    /// An RSA certificate for a caller of requests.
    fn caller(&self, name: &str) {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = named(name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, &params, &key);
    }

    fn sign(&self, name: &str, params: &CertificateParams, key: &KeyPair) {
        let certificate = params.clone().signed_by(key, &self.root).unwrap();
        write(&self.dir, &format!("{name}.pem"), &certificate.pem());
        write(&self.dir, &format!("{name}.key"), &key.serialize_pem());
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes a file only its owner may read.
fn write(dir: &Path, name: &str, text: &str) {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}
