//! Names of keys in tokens: PKCS #11 URIs (RFC 7512).

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use cryptoki::slot::{Slot, TokenInfo};
use percent_encoding::percent_decode_str;

/// What a configuration writes.
const EXAMPLE: &str =
    "pkcs11:token=muster;object=enrolment-ca?module-path=/usr/lib/softhsm/libsofthsm2.so";

/// Which private key, in which token, behind which library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUri {
    module: PathBuf,
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    slot: Option<u64>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    pin_file: Option<PathBuf>,
}

impl KeyUri {
    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("pkcs11:")
    }

    /// Reads a URI. It names a library (`module-path`), a token (`token`, `serial`, `model`,
    /// `manufacturer`, `slot-id`) and a key (`object`, `id`), and maybe the file of the PIN
    /// (`pin-source`), never the PIN itself.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("pkcs11:")
            .ok_or_else(|| format!("is no PKCS #11 URI; write {EXAMPLE:?}"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut seen = BTreeSet::new();
        let attributes = path.split(';').chain(query.split('&'));
        for attribute in attributes.filter(|attribute| !attribute.is_empty()) {
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| "holds an attribute without a value".to_owned())?;
            if !seen.insert(name) {
                return Err(format!("names `{name}` twice"));
            }
            if value.is_empty() {
                return Err(format!("has no value for `{name}`"));
            }
            uri.set(name, value)?;
        }
        uri.whole()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bytes: Vec<u8> = percent_decode_str(value).collect();
        if name == "id" {
            self.id = Some(bytes);
            return Ok(());
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("has a value for `{name}` that is no text"))?;
        match name {
            "token" => self.token = Some(text),
            "serial" => self.serial = Some(text),
            "manufacturer" => self.manufacturer = Some(text),
            "model" => self.model = Some(text),
            "object" => self.object = Some(text),
            "slot-id" => {
                let number = text.parse();
                self.slot =
                    Some(number.map_err(|_| "has a `slot-id` that is no number".to_owned())?);
            }
            "module-path" => self.module = PathBuf::from(text),
            "pin-source" => {
                let path = text.strip_prefix("file:").unwrap_or(&text);
                if !path.starts_with('/') {
                    return Err(
                        "has a `pin-source` that is no file; write pin-source=file:/PATH"
                            .to_owned(),
                    );
                }
                self.pin_file = Some(PathBuf::from(path));
            }
            "type" if text == "private" => {}
            "type" => return Err("has a `type` other than private".to_owned()),
            "pin-value" => {
                return Err(
                    "holds the PIN itself (`pin-value`); keep it in a file and write \
                     pin-source=file:/PATH, key_pin_file or key_pin_env"
                        .to_owned(),
                );
            }
            "module-name" => {
                return Err(
                    "names the library without its path; write module-path=/PATH".to_owned(),
                );
            }
            other => {
                return Err(format!(
                    "has the attribute {other:?}, which is not used here; a key is named by token, \
                     serial, manufacturer, model or slot-id and by object or id"
                ));
            }
        }
        Ok(())
    }

    /// The URI, if it says enough.
    fn whole(self) -> Result<Self, String> {
        let lacks = |what: &str| Err(format!("names no {what}; write {EXAMPLE:?}"));
        if self.module.as_os_str().is_empty() {
            return lacks("library (`module-path`)");
        }
        if self.token.is_none() && self.serial.is_none() && self.slot.is_none() {
            return lacks("token (`token`, `serial` or `slot-id`)");
        }
        if self.object.is_none() && self.id.is_none() {
            return lacks("key (`object` or `id`)");
        }
        Ok(self)
    }

    /// The library.
    pub(super) fn module(&self) -> &Path {
        &self.module
    }

    /// The label of the key.
    pub(super) fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The identifier of the key.
    pub(super) fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// The file of the PIN.
    #[must_use]
    pub fn pin_file(&self) -> Option<&Path> {
        self.pin_file.as_deref()
    }

    /// Whether this token is meant.
    pub(super) fn means(&self, slot: Slot, token: &TokenInfo) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted == found.trim_end())
        };
        is(&self.token, token.label())
            && is(&self.serial, token.serial_number())
            && is(&self.manufacturer, token.manufacturer_id())
            && is(&self.model, token.model())
            && self.slot.is_none_or(|wanted| wanted == slot.id())
    }

    /// The token, in words.
    pub(super) fn token(&self) -> String {
        let said = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
        ];
        let said = said.into_iter();
        let mut said: Vec<_> = said
            .filter_map(|(name, value)| Some(format!("{name} {:?}", value.as_ref()?)))
            .collect();
        said.extend(self.slot.map(|slot| format!("slot {slot}")));
        said.join(", ")
    }
}

/// The key in words, without its library and its PIN.
impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(object) = &self.object {
            write!(f, "{object:?}")?;
            comma = " ";
        }
        if let Some(id) = &self.id {
            write!(f, "{comma}id {}", hex::encode(id))?;
        }
        write!(f, " in {}", self.token())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_named_as_other_programs_name_it() {
        let uri = KeyUri::parse(
            "pkcs11:model=SoftHSM%20v2;token=my%20token;object=CA;id=%01%ff;type=private\
             ?module-path=/usr/lib/x.so&pin-source=file:/etc/muster/pin",
        )
        .unwrap();
        assert_eq!(uri.token.as_deref(), Some("my token"));
        assert_eq!(uri.model.as_deref(), Some("SoftHSM v2"));
        assert_eq!(uri.object(), Some("CA"));
        assert_eq!(uri.id(), Some(&[1, 0xff][..]));
        assert_eq!(uri.module(), Path::new("/usr/lib/x.so"));
        assert_eq!(uri.pin_file(), Some(Path::new("/etc/muster/pin")));
        let said = uri.to_string();
        assert_eq!(
            said,
            "\"CA\" id 01ff in token \"my token\", model \"SoftHSM v2\""
        );
    }

    #[test]
    fn what_is_wrong_is_said_and_a_pin_is_not() {
        for (uri, says) in [
            ("file:/etc/key", "no PKCS #11 URI"),
            ("pkcs11:token=a;object=b", "module-path"),
            ("pkcs11:object=b?module-path=/x", "`token`"),
            ("pkcs11:token=a?module-path=/x", "`object`"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:token=;object=b", "no value for `token`"),
            ("pkcs11:token", "without a value"),
            ("pkcs11:token=a;object=b?module-name=x", "module-path=/PATH"),
            ("pkcs11:token=a;objekt=b?module-path=/x", "\"objekt\""),
            ("pkcs11:token=a;object=b;type=public", "other than private"),
            ("pkcs11:token=%ff;object=b", "no text"),
            ("pkcs11:slot-id=x;object=b", "no number"),
            ("pkcs11:token=a?pin-source=|pinpad", "pin-source=file:"),
            ("pkcs11:token=a;object=b?pin-value=4711", "key_pin_file"),
        ] {
            let error = KeyUri::parse(uri).unwrap_err();
            assert!(error.contains(says), "{uri}: {error}");
            assert!(!error.contains("4711"));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_is_taken_for_another(label in "\\PC{1,40}") {
            let written = percent_encoding::utf8_percent_encode(&label, percent_encoding::NON_ALPHANUMERIC);
            let uri = KeyUri::parse(&format!("pkcs11:token={written};object={written}?module-path=/x"));
            let uri = uri.unwrap();
            prop_assert_eq!(uri.object(), Some(label.as_str()));
            prop_assert_eq!(uri.token.as_deref(), Some(label.as_str()));
        }

        #[test]
        fn no_text_is_a_surprise(text in "pkcs11:[a-z=;?&%/0-9-]{0,60}") {
            let _ = KeyUri::parse(&text);
        }
    }
}
