//! JSON as the original writes it, and bounds on JSON that is read.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::Formatter;

use super::WireError;
use super::error::Layer;

/// Compact JSON with the escapes of Go's encoder: `<`, `>`, `&`, U+2028 and U+2029 inside strings are written as
/// `\u003c` and so on, other characters as UTF-8.
///
/// # Errors
/// When the value cannot be JSON, such as a map with keys that are not text.
pub fn to_go_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    // Room for a whole reply: growing costs more than what is left over.
    let mut out = Vec::with_capacity(1_024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    value.serialize(&mut serializer)?;
    Ok(out)
}

/// The same as text.
pub(crate) fn to_go_text<T: Serialize + ?Sized>(
    layer: Layer,
    value: &T,
) -> Result<String, WireError> {
    let bytes = to_go_json(value).map_err(|error| WireError::json(layer, &error))?;
    String::from_utf8(bytes).map_err(|_| WireError::NotText)
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // 0xE2 starts U+2028 and U+2029.
        let bytes = fragment.as_bytes();
        let needs_none = memchr::memchr3(b'<', b'>', b'&', bytes).is_none();
        if needs_none && memchr::memchr(0xE2, bytes).is_none() {
            return out.write_all(fragment.as_bytes());
        }
        let mut written = 0;
        for (at, c) in fragment.char_indices() {
            let escaped: &[u8] = match c {
                '<' => b"\\u003c",
                '>' => b"\\u003e",
                '&' => b"\\u0026",
                '\u{2028}' => b"\\u2028",
                '\u{2029}' => b"\\u2029",
                _ => continue,
            };
            out.write_all(&fragment.as_bytes()[written..at])?;
            out.write_all(escaped)?;
            written = at + c.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[written..])
    }
}

/// Reads one layer: bounded in nesting, nothing behind its end.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    layer: Layer,
    bytes: &'a [u8],
    max_depth: usize,
) -> Result<T, WireError> {
    if depth(bytes) > max_depth {
        return Err(WireError::TooDeep {
            layer,
            limit: max_depth,
        });
    }
    let Object(value) =
        serde_json::from_slice(bytes).map_err(|error| WireError::json(layer, &error))?;
    Ok(value)
}

/// A value that must be written as an object. Derived readers would take a list of the fields' values too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMaps<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer
            .deserialize_map(OnlyMaps(PhantomData))
            .map(Object)
    }
}

/// Reads a field that must be an object.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// Reads a field that must be an object or null.
pub(super) fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(value.map(|Object(value)| value))
}

/// Reads a field that must be a list of objects.
pub(super) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let values = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|Object(value)| value).collect())
}

/// The deepest nesting of lists and objects in a JSON text; for other texts some number.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => rest = behind_string(behind),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What follows a string whose first quote was just read. Nearly all bytes of a message are in strings.
fn behind_string(mut bytes: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', bytes) {
        if bytes[at] == b'"' {
            return &bytes[at + 1..];
        }
        bytes = bytes.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// Go's decoder of standard base64: padding wanted, the unused bits of the last character ignored.
const GO_STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Standard base64 as Go reads it: line ends anywhere are skipped.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let line_end = |b: &u8| matches!(b, b'\r' | b'\n');
    if text.iter().any(line_end) {
        let text: Vec<u8> = text.iter().copied().filter(|b| !line_end(b)).collect();
        GO_STANDARD.decode(text).ok()
    } else {
        GO_STANDARD.decode(text).ok()
    }
}

/// Standard base64 with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_those_of_go() {
        let text = "<a>&\u{2028}\u{2029}é\"\\\n\u{8}\u{c}\u{1}\u{7f}";
        assert_eq!(
            String::from_utf8(to_go_json(text).unwrap()).unwrap(),
            "\"\\u003ca\\u003e\\u0026\\u2028\\u2029é\\\"\\\\\\n\\b\\f\\u0001\u{7f}\""
        );
    }

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert_eq!(depth(br#"{"a":[1,{"b":"[[[{\"[["}]}"#), 3);
        assert_eq!(depth(b"]]]["), 1);
        assert_eq!(depth(b""), 0);
        assert_eq!(depth(br#"["\"]"#), 1, "an unfinished string");
        assert_eq!(depth(br#"["\\",[1]]"#), 2);
    }

    #[test]
    fn base64_is_read_as_go_reads_it() {
        for (text, want) in [
            ("cGluZw==", Some(&b"ping"[..])),
            ("cGlu\nZw==", Some(b"ping")),
            ("cGlu\r\nZw=\n=", Some(b"ping")),
            ("cGluZx==", Some(b"ping")),
            ("ping", Some(b"\xa6\x29\xe0")),
            ("", Some(b"")),
            ("cGluZw", None),
            ("cGluZw=", None),
            ("ping ", None),
            ("a-_=", None),
        ] {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in any::<String>()) {
            let written = to_go_json(&text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        }
    }
}
