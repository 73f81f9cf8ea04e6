//! What a request may ask for beyond its node's own name: nothing, unless the configuration says so.

use std::net::IpAddr;
use std::str::FromStr;

use der::asn1::ObjectIdentifier;
use serde::{Deserialize, Serialize};

use super::blocked::BlockedKeys;
use super::key::KeyKind;

/// Policy for certificate requests; the default grants the node's own name only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestPolicy {
    /// The kinds of key that are certified; all that can be unless told otherwise.
    pub keys: Vec<KeyKind>,
    /// Accept encoded international names (`xn--…`).
    pub punycode: bool,
    /// Subject attributes beside the common name that are tolerated, as dotted object
    /// identifiers. They are never copied into a certificate.
    pub subject_attributes: Vec<Oid>,
    /// Address ranges from which a node may ask for addresses as alternative names.
    pub ip_ranges: Vec<IpRange>,
    /// Keys that are certified for nobody.
    #[serde(skip)]
    pub blocked_keys: BlockedKeys,
}

impl Default for RequestPolicy {
    fn default() -> Self {
        Self {
            keys: KeyKind::ALL.to_vec(),
            punycode: false,
            subject_attributes: Vec::new(),
            ip_ranges: Vec::new(),
            blocked_keys: BlockedKeys::default(),
        }
    }
}

impl RequestPolicy {
    /// The most alternative names that are looked at.
    pub const MAX_SANS: usize = 16;

    /// Whether the policy lets a node have this address in its certificate.
    #[must_use]
    pub fn grants_ip(&self, ip: IpAddr) -> bool {
        self.ip_ranges.iter().any(|range| range.contains(ip))
    }
}

/// An object identifier written with dots, e.g. `2.5.4.10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(pub(crate) ObjectIdentifier);

impl TryFrom<String> for Oid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ObjectIdentifier::new(&text).map(Self).map_err(|_| {
            format!("\"{text}\" is not an object identifier; write it with dots, like 2.5.4.10")
        })
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> Self {
        oid.0.to_string()
    }
}

/// A range of addresses, e.g. `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRange {
    network: IpAddr,
    prefix: u8,
}

impl IpRange {
    /// Whether the address lies in the range; an IPv4 range never holds an IPv6 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                u32::from(network) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                u128::from(network) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for IpRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not an address range; write it like 10.1.0.0/16");
        let (network, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { network, prefix })
    }
}

impl TryFrom<String> for IpRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<IpRange> for String {
    fn from(range: IpRange) -> Self {
        format!("{}/{}", range.network, range.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn holds(range: &str, ip: &str) -> bool {
        range
            .parse::<IpRange>()
            .unwrap()
            .contains(ip.parse().unwrap())
    }

    #[test]
    fn ranges_hold_what_their_prefix_says() {
        assert!(holds("10.1.0.0/16", "10.1.255.255"));
        assert!(!holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(holds("10.1.2.3/32", "10.1.2.3"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert!(holds("::/0", "fd12::1"));
        assert!(!holds("::/0", "10.1.2.3"));
        assert!(!holds("0.0.0.0/0", "::1"));
    }

    #[test]
    fn wrong_ranges_say_how_to_write_them() {
        for wrong in [
            "",
            "10.1.0.0",
            "10.1.0.0/33",
            "fd00::/129",
            "x/8",
            "10.1.0.0/-1",
        ] {
            let error = wrong.parse::<IpRange>().unwrap_err();
            assert!(error.contains("10.1.0.0/16"), "{wrong}: {error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<RequestPolicy>("punycod = true").unwrap_err();
        assert!(error.to_string().contains("punycod"));
    }
}
