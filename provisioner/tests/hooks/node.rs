//! Nodes that want certificates.

use std::sync::LazyLock;

use jiff::Timestamp;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509NameBuilder, X509ReqBuilder};
use provisioner::hook::HookRequest;
use provisioner::judge::CsrReply;
use provisioner::judge::{RequestPolicy, judge};
use serde_json::json;

pub(crate) type Key = PKey<Private>;

pub(crate) fn p256() -> Key {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A key for all nodes whose key does not matter.
static KEY: LazyLock<Key> = LazyLock::new(p256);

/// What a hook is asked about this node.
pub(crate) fn request(name: &str) -> HookRequest {
    request_with(name, &KEY)
}

/// The same for a node that writes its name as an alternative name too.
pub(crate) fn request_for(name: &str) -> HookRequest {
    made(name, &KEY, true)
}

/// The same for a node with this key.
pub(crate) fn request_with(name: &str, key: &Key) -> HookRequest {
    made(name, key, false)
}

fn made(name: &str, key: &Key, alternative: bool) -> HookRequest {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let mut csr = X509ReqBuilder::new().unwrap();
    csr.set_subject_name(&subject.build()).unwrap();
    csr.set_pubkey(key).unwrap();
    if alternative {
        let mut extensions = Stack::new().unwrap();
        let names = SubjectAlternativeName::new()
            .dns(name)
            .build(&csr.x509v3_context(None));
        extensions.push(names.unwrap()).unwrap();
        csr.add_extensions(&extensions).unwrap();
    }
    csr.sign(key, MessageDigest::sha256()).unwrap();
    let csr = String::from_utf8(csr.build().to_pem().unwrap()).unwrap();
    HookRequest {
        request: judge(csr.as_bytes(), name, &RequestPolicy::default()).unwrap(),
        csr: CsrReply {
            csr,
            public_key: String::new(),
            ssldir: "/etc/choria/ssl".to_owned(),
            ed25519: None,
        },
        inventory: json!({"facts": {"site": "ams"}}),
        claims: json!({"cht": "s3cret", "chpwd": "hunter2", "chpd": true}),
        attempt: 1,
        renewal: 0,
        now: Timestamp::now(),
    }
}
