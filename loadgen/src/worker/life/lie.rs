//! What a hostile node says instead of the truth.
//!
//! The node itself is an honest one; its answers are exchanged on their way out. So everything
//! about it that is not the lie is as it should be, and whoever refuses it does so for the lie.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use serde_json::{Map, Value, json};
use server_core::node::Storage;
use server_core::wire::rpc::{RpcReply, StatusCode};
use server_core::wire::{Limits, decode_reply, encode_reply};
use server_core::words::Identity;

use crate::scenario::Behaviour;

/// A name that no node of a run has.
const STRANGER: &str = "stranger.example.org";
/// Where a node keeps its key, before it answers with the request.
const PRIVATE_KEY: &str = "ssl/private.pem";
/// More than a request can honestly be, bytes.
const TOO_MUCH: usize = 24 * 1024;
/// More than an inventory can honestly be, bytes; less than a broker's limit on one message, even
/// after two layers of base64.
const TOO_MUCH_INVENTORY: usize = 320 * 1024;
/// `SEQUENCE { BOOLEAN TRUE }`: the basic constraints of an authority (RFC 5280 §4.2.1.9).
const AUTHORITY: [u8; 5] = [0x30, 0x03, 0x01, 0x01, 0xff];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];

/// The lie of one node.
#[derive(Clone)]
pub(super) struct Lie {
    node: Identity,
    behaviour: Behaviour,
    /// A token of the run that has expired.
    expired: String,
    /// The node's own, with the key it made for its request.
    disk: Arc<dyn Storage>,
}

impl Lie {
    /// The lie of a node that behaves like this; `None` for one that says what is so.
    pub(super) fn of(
        behaviour: Behaviour,
        node: &Identity,
        expired: &str,
        disk: Arc<dyn Storage>,
    ) -> Option<Self> {
        use Behaviour::{Dead, Honest, Slow, Twice};
        let truthful = matches!(behaviour, Honest | Dead | Slow | Twice);
        (!truthful).then(|| Self {
            node: node.clone(),
            behaviour,
            expired: expired.to_owned(),
            disk,
        })
    }

    /// What is sent instead of `payload`; `None` where that is sent as it is. Only successful
    /// answers of agents are exchanged.
    pub(super) fn instead_of(&self, payload: &Bytes) -> Option<Bytes> {
        let limits = Limits::default();
        let mut envelope = decode_reply(payload, &limits).ok()?;
        let mut said = RpcReply::parse(&envelope.body.payload, &limits).ok()?;
        if said.statuscode != StatusCode::Ok {
            return None;
        }
        let data = said.data.as_object_mut()?;
        match (self.behaviour, said.action.as_str()) {
            (Behaviour::Impostor, _) => STRANGER.clone_into(&mut envelope.body.sender),
            (Behaviour::Garbled, "jwt") => {
                envelope.body.payload = Bytes::from_static(b"no answer of the protocol");
                return encode_reply(&envelope.body, envelope.protocol, &envelope.headers).ok();
            }
            (_, "jwt") => exchange(data, "jwt", |token| self.token(token))?,
            (_, "gencsr") => exchange(data, "csr", |csr| self.request(csr))?,
            (Behaviour::BigInventory, "inventory") => {
                data.insert("ballast".to_owned(), "x".repeat(TOO_MUCH_INVENTORY).into());
            }
            _ => return None,
        }
        envelope.body.payload = said.encode().ok()?.into();
        encode_reply(&envelope.body, envelope.protocol, &envelope.headers).ok()
    }

    fn token(&self, honest: &str) -> Option<String> {
        let (claims, _) = honest.split_once('.')?.1.split_once('.')?;
        match self.behaviour {
            Behaviour::ExpiredToken => Some(self.expired.clone()),
            Behaviour::UnsignedToken => {
                let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
                Some(format!("{header}.{claims}."))
            }
            Behaviour::BadToken => {
                let mut read: Value =
                    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
                read.as_object_mut()?
                    .insert("jti".to_owned(), json!("another"));
                let altered = URL_SAFE_NO_PAD.encode(read.to_string());
                Some(honest.replacen(claims, &altered, 1))
            }
            _ => None,
        }
    }

    fn request(&self, honest: &str) -> Option<String> {
        let own = self.node.as_str();
        match self.behaviour {
            Behaviour::NotPem => Some("this is no certificate request".to_owned()),
            Behaviour::Big => Some(format!("{honest}{}", " ".repeat(TOO_MUCH))),
            Behaviour::LeakedKey => {
                let key = KeyPair::generate().ok()?;
                Some(format!("{honest}{}", key.serialize_pem()))
            }
            Behaviour::WrongName => self.forge(STRANGER, &[], None),
            Behaviour::ForeignSan => self.forge(own, &[own, STRANGER], None),
            Behaviour::WildcardSan => self.forge(own, &["*.example.org"], None),
            Behaviour::CaRequest => {
                let asked = AUTHORITY.to_vec();
                let asked = CustomExtension::from_oid_content(&BASIC_CONSTRAINTS, asked);
                self.forge(own, &[], Some(asked))
            }
            _ => None,
        }
    }

    /// A certificate request (PKCS #10, RFC 2986) that is right in every other way. Its key is the
    /// node's: should somebody certify it, the node gets to production with what it should not have.
    fn forge(
        &self,
        name: &str,
        names: &[&str],
        extension: Option<CustomExtension>,
    ) -> Option<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).ok()?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.custom_extensions.extend(extension);
        let key = String::from_utf8(self.disk.read(PRIVATE_KEY).ok()??).ok()?;
        let key = KeyPair::from_pem(&key).ok()?;
        params.serialize_request(&key).ok()?.pem().ok()
    }
}

/// Puts another text in the place of one; `None` where there is no other.
fn exchange(
    data: &mut Map<String, Value>,
    name: &str,
    other: impl FnOnce(&str) -> Option<String>,
) -> Option<()> {
    let value = data.get_mut(name)?;
    *value = other(value.as_str()?)?.into();
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use server_core::node::MemoryStorage;
    use server_core::trust::{KeyAlgorithm, KeyPair};
    use server_core::wire::{Headers, Protocol, Reply};
    use server_core::words::UnixTime;

    use super::*;

    fn sent(action: &str, data: Value) -> Bytes {
        let said = RpcReply::ok(action, data).encode().unwrap();
        encoded(said)
    }

    fn encoded(payload: Vec<u8>) -> Bytes {
        let reply = Reply {
            request_id: "0123456789abcdef0123456789abcdef".to_owned(),
            sender: "n1.example.net".to_owned(),
            agent: "choria_provision".to_owned(),
            time: UnixTime::from_secs(1_800_000_000),
            payload: payload.into(),
        };
        encode_reply(&reply, Protocol::V1, &Headers::default()).unwrap()
    }

    fn lie(behaviour: Behaviour) -> Lie {
        lie_with(behaviour, "no key")
    }

    fn lie_with(behaviour: Behaviour, key: &str) -> Lie {
        let node = Identity::parse("n1.example.net").unwrap();
        let disk = MemoryStorage::new("/etc/choria");
        disk.write(PRIVATE_KEY, key.as_bytes(), 0o600).unwrap();
        Lie::of(behaviour, &node, "expired", Arc::new(disk)).unwrap()
    }

    fn told(lie: &Lie, action: &str, name: &str, honest: &str) -> String {
        let other = lie.instead_of(&sent(action, json!({ name: honest })));
        let reply = decode_reply(&other.unwrap(), &Limits::default()).unwrap();
        let said = RpcReply::parse(&reply.body.payload, &Limits::default()).unwrap();
        said.data[name].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_no_answer_of_an_agent_goes_out_as_it_is() {
        let pong = encoded(b"pong".to_vec());
        let event = Bytes::from_static(br#"{"protocol":"io.choria.lifecycle.v1.startup"}"#);
        let other = sent("inventory", json!({ "facts": {} }));
        for payload in [pong, event, other] {
            assert_eq!(lie(Behaviour::NotPem).instead_of(&payload), None);
        }
    }

    #[test]
    fn tokens_are_altered_unsigned_or_expired() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"jti":"one"}"#);
        let honest = format!("HEADER.{claims}.SIGNATURE");
        let told = |behaviour| told(&lie(behaviour), "jwt", "jwt", &honest);
        assert_eq!(told(Behaviour::ExpiredToken), "expired");
        let altered = told(Behaviour::BadToken);
        assert!(altered.starts_with("HEADER.") && altered.ends_with(".SIGNATURE"));
        assert!(!altered.contains(&claims));
        let unsigned = told(Behaviour::UnsignedToken);
        assert!(unsigned.ends_with(&format!(".{claims}.")), "{unsigned}");
    }

    #[test]
    fn another_implementation_reads_in_requests_what_they_are_meant_to_ask_for_the_nodes_own_key() {
        for (behaviour, algorithm, asked) in [
            (
                Behaviour::WrongName,
                KeyAlgorithm::P256,
                "stranger.example.org",
            ),
            (
                Behaviour::ForeignSan,
                KeyAlgorithm::Rsa2048,
                "DNS:n1.example.net, DNS:stranger.example.org",
            ),
            (
                Behaviour::WildcardSan,
                KeyAlgorithm::Ed25519,
                "DNS:*.example.org",
            ),
            (Behaviour::CaRequest, KeyAlgorithm::P256, "CA:TRUE"),
        ] {
            let key = KeyPair::generate(algorithm).unwrap();
            let lie = lie_with(behaviour, &key.to_pem());
            let csr = told(&lie, "gencsr", "csr", "honest");
            let mut openssl = Command::new("openssl")
                .args(["req", "-noout", "-text", "-verify", "-pubkey"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            openssl
                .stdin
                .take()
                .unwrap()
                .write_all(csr.as_bytes())
                .unwrap();
            let output = openssl.wait_with_output().unwrap();
            assert!(output.status.success(), "{behaviour}");
            let read = String::from_utf8_lossy(&output.stdout);
            assert!(read.contains(asked), "{behaviour}: {read}");
            assert!(
                read.contains(key.public_pem().trim()),
                "{behaviour}: {read}"
            );
        }
    }
}
