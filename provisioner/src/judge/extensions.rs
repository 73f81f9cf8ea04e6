//! What a request asks for beside its key and name, and whether any of it is refused.
//!
//! Nothing asked for here reaches a certificate by itself: certificates are built from policy.
//! A request that asks for more than policy grants is refused all the same, because a site's own
//! authority behind a helper may copy what it reads.

use std::collections::BTreeSet;
use std::net::IpAddr;

use der::asn1::{Any, ObjectIdentifier};
use der::{Class as TagClass, Decode, Tagged};
use x509_cert::attr::Attributes;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::identity::quoted;
use super::policy::RequestPolicy;
use crate::code::{Code, Refusal};

const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
pub(crate) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
pub(crate) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// An alternative name as asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AltName {
    Dns(String),
    Ip(IpAddr),
    /// A kind that is never granted, in words.
    Other(&'static str),
}

/// What a request asks for, read but not judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    authority: Option<&'static str>,
    excess: Option<String>,
    names: Option<Vec<AltName>>,
}

impl Asked {
    /// Reads a request's attributes.
    ///
    /// # Errors
    /// `csr.der` when an extension whose form is known does not have it.
    pub(crate) fn read(attributes: &Attributes) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        let mut seen = false;
        for attribute in attributes.iter() {
            if attribute.oid != EXTENSION_REQUEST {
                asked.too_much(format!("the attribute {}", attribute.oid));
            } else if seen || attribute.values.len() != 1 {
                asked.too_much("more than one list of extensions".to_owned());
            } else if let Some(list) = attribute.values.get(0) {
                seen = true;
                asked.read_extensions(&list.decode_as::<Vec<Extension>>().map_err(malformed)?)?;
            }
        }
        Ok(asked)
    }

    fn read_extensions(&mut self, extensions: &[Extension]) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for extension in extensions {
            if !seen.insert(extension.extn_id) {
                self.too_much(format!("the extension {} twice", extension.extn_id));
            }
            let value = extension.extn_value.as_bytes();
            match extension.extn_id {
                BASIC_CONSTRAINTS => {
                    if BasicConstraints::from_der(value).map_err(malformed)?.ca {
                        self.authority = Some("basic constraints with CA:TRUE");
                    }
                    self.too_much("basic constraints".to_owned());
                }
                KEY_USAGE => {
                    let usage = KeyUsage::from_der(value).map_err(malformed)?;
                    if usage.key_cert_sign() || usage.crl_sign() {
                        self.authority = Some("the key usage of an authority");
                    }
                }
                EXTENDED_KEY_USAGE => {
                    let usages = ExtendedKeyUsage::from_der(value).map_err(malformed)?;
                    let granted = [CLIENT_AUTH, SERVER_AUTH];
                    if let Some(other) = usages.0.iter().find(|usage| !granted.contains(usage)) {
                        self.too_much(format!("the extended key usage {other}"));
                    }
                }
                SUBJECT_ALT_NAME => {
                    self.names = Some(read_alt_names(value).map_err(malformed)?);
                }
                other => self.too_much(format!("the extension {other}")),
            }
        }
        Ok(())
    }

    /// Remembers the first thing that is never granted.
    fn too_much(&mut self, what: String) {
        self.excess.get_or_insert(what);
    }

    /// Judges what is asked for; returns the addresses that are granted with the name.
    ///
    /// # Errors
    /// `csr.ca_requested`, `csr.extension`, `csr.san_wildcard`, `csr.san_kind`, `csr.san_ip`,
    /// `csr.san_count`, `csr.san_set`.
    pub(crate) fn judge(
        &self,
        identity: &str,
        policy: &RequestPolicy,
    ) -> Result<Vec<IpAddr>, Refusal> {
        if let Some(what) = self.authority {
            return Err(Refusal::new(
                Code::CsrCaRequested,
                format!("the request asks for {what}; a node never becomes an authority (rule 7)"),
            ));
        }
        if let Some(what) = &self.excess {
            return Err(Refusal::new(
                Code::CsrExtension,
                format!(
                    "the request carries {what}; only alternative names, key usage and extended \
                     key usage for client or server may be asked for (rule 7)"
                ),
            ));
        }
        match &self.names {
            None => Ok(Vec::new()),
            Some(names) => judge_names(names, identity, policy),
        }
    }
}

/// Judges the alternative names: the node's own name, once, and granted addresses.
fn judge_names(
    names: &[AltName],
    identity: &str,
    policy: &RequestPolicy,
) -> Result<Vec<IpAddr>, Refusal> {
    let refuse = |code, what: String| Err(Refusal::new(code, what));
    for name in names {
        if let AltName::Dns(name) = name
            && name.contains('*')
        {
            return refuse(
                Code::CsrSanWildcard,
                format!(
                    "the request asks for {}; wildcards are never granted (rule 4)",
                    quoted(name)
                ),
            );
        }
    }
    if let Some(kind) = names.iter().find_map(|name| match name {
        AltName::Other(kind) => Some(kind),
        _ => None,
    }) {
        return refuse(
            Code::CsrSanKind,
            format!(
                "the request asks for {kind} as an alternative name; only host names are granted (rule 5)"
            ),
        );
    }
    let mut granted = Vec::new();
    for name in names {
        if let AltName::Ip(ip) = name {
            if !policy.grants_ip(*ip) {
                return refuse(
                    Code::CsrSanIp,
                    format!(
                        "the request asks for the address {ip}, which is in none of the ranges \
                         that are granted (rule 5)"
                    ),
                );
            }
            granted.push(*ip);
        }
    }
    if names.len() > RequestPolicy::MAX_SANS {
        return refuse(
            Code::CsrSanCount,
            format!(
                "the request asks for {} alternative names; more than {} are never looked at (rule 6)",
                names.len(),
                RequestPolicy::MAX_SANS
            ),
        );
    }
    judge_set(names, identity)?;
    Ok(granted)
}

fn judge_set(names: &[AltName], identity: &str) -> Result<(), Refusal> {
    let refuse = |what: String| {
        Err(Refusal::new(
            Code::CsrSanSet,
            format!(
                "{what}; a request with alternative names asks for exactly \"{identity}\" (rule 6)"
            ),
        ))
    };
    let mut own = false;
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return refuse("the request asks for the same alternative name twice".to_owned());
        }
        match name {
            AltName::Dns(name) if name == identity => own = true,
            AltName::Dns(name) => {
                return refuse(format!("the request asks for {}", quoted(name)));
            }
            AltName::Ip(_) | AltName::Other(_) => {}
        }
    }
    if own {
        Ok(())
    } else {
        refuse("the request's alternative names lack the node's own".to_owned())
    }
}

/// The names of a `SubjectAltName` extension's value, of whatever kind.
pub(crate) fn read_alt_names(value: &[u8]) -> Result<Vec<AltName>, der::Error> {
    Ok(Vec::<Any>::from_der(value)?.iter().map(alt_name).collect())
}

/// One `GeneralName` (RFC 5280 §4.2.1.6).
fn alt_name(name: &Any) -> AltName {
    let tag = name.tag();
    if tag.class() != TagClass::ContextSpecific {
        return AltName::Other("a name of an unknown kind");
    }
    match (tag.number().value(), tag.is_constructed()) {
        (2, false) => match std::str::from_utf8(name.value()) {
            Ok(text) if text.is_ascii() => AltName::Dns(text.to_owned()),
            _ => AltName::Other("a host name that is not ASCII"),
        },
        (7, false) => ip(name.value()).map_or(
            AltName::Other("an address that is neither IPv4 nor IPv6"),
            AltName::Ip,
        ),
        (0, _) => AltName::Other("an other name"),
        (1, _) => AltName::Other("a mail address"),
        (3, _) => AltName::Other("an X.400 address"),
        (4, _) => AltName::Other("a directory name"),
        (5, _) => AltName::Other("an EDI party name"),
        (6, _) => AltName::Other("a URI"),
        (8, _) => AltName::Other("a registered identifier"),
        _ => AltName::Other("a name of an unknown kind"),
    }
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn malformed(error: der::Error) -> Refusal {
    Refusal::new(
        Code::CsrDer,
        format!("an extension the request asks for is not strict DER (rule 13): {error}"),
    )
}
