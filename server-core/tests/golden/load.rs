//! Loads captured messages; included by the tests that use them.
#![allow(
    dead_code,
    reason = "every test includes this file and uses its own part"
)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use server_core::trust::{CallerRules, Verifier};
use server_core::wire::FilterSubject;
use server_core::words::{ManualClock, UnixTime};

/// A path below `tests/golden`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A file below `tests/golden`.
pub(crate) fn text(name: &str) -> String {
    let path = path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A captured message.
pub(crate) struct Capture {
    /// File name.
    pub(crate) name: String,
    /// The whole file.
    pub(crate) file: Value,
}

impl Capture {
    /// The exact bytes on the wire.
    pub(crate) fn payload(&self) -> Bytes {
        self.file["payload"].as_str().unwrap().to_owned().into()
    }

    /// The layers, taken apart without the code under test.
    pub(crate) fn layers(&self) -> Layers {
        let transport: Value = serde_json::from_slice(&self.payload()).unwrap();
        let data = STANDARD
            .decode(transport["data"].as_str().unwrap())
            .unwrap();
        let secure_text = String::from_utf8(data).unwrap();
        let secure: Value = serde_json::from_str(&secure_text).unwrap();
        let message_text = secure["message"].as_str().unwrap().to_owned();
        let message: Value = serde_json::from_str(&message_text).unwrap();
        Layers {
            transport,
            secure_text,
            secure,
            message_text,
            message,
        }
    }

    fn protocol(&self) -> Option<String> {
        let transport: Value = serde_json::from_str(self.file["payload"].as_str()?).ok()?;
        (transport["protocol"] == "choria:transport:1").then(|| {
            self.layers().secure["protocol"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    }

    /// Whether this is a request, and no reply or event.
    pub(crate) fn is_request(&self) -> bool {
        self.protocol().as_deref() == Some("choria:secure:request:1")
    }

    /// Whether this is a reply, and no request or event.
    pub(crate) fn is_reply(&self) -> bool {
        self.protocol().as_deref() == Some("choria:secure:reply:1")
    }
}

/// The layers of a message.
pub(crate) struct Layers {
    pub(crate) transport: Value,
    pub(crate) secure_text: String,
    pub(crate) secure: Value,
    pub(crate) message_text: String,
    pub(crate) message: Value,
}

/// All captures in a folder, by name.
pub(crate) fn captures(folder: &str) -> Vec<Capture> {
    let mut names: Vec<_> = std::fs::read_dir(path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| Capture {
            file: serde_json::from_str(&text(&format!("{folder}/{name}"))).unwrap(),
            name: format!("{folder}/{name}"),
        })
        .collect()
}

/// All captured requests or replies of protocol 1.
pub(crate) fn all_messages() -> Vec<Capture> {
    ["v1", "provisioning/x509", "provisioning/calls"]
        .into_iter()
        .flat_map(captures)
        .collect()
}

/// A verifier with the authority of a capture, at a time when all its certificates were valid.
pub(crate) fn verifier(ca: &str, rules: CallerRules) -> Verifier {
    Verifier::new(&text(ca), rules).unwrap().clock(clock())
}

/// A clock that shows a time when everything captured was valid.
pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UnixTime::from_secs(1_795_396_000)))
}

/// One of the servers of the captures.
pub(crate) struct Server<'a> {
    pub(crate) identity: &'static str,
    pub(crate) classes: Vec<String>,
    pub(crate) facts: &'a str,
}

static AGENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ["choria_util", "discovery", "rpcutil", "scout"]
        .map(str::to_owned)
        .to_vec()
});

impl FilterSubject for Server<'_> {
    fn identity(&self) -> &str {
        self.identity
    }
    fn agents(&self) -> &[String] {
        &AGENTS
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn facts_json(&self) -> &str {
        self.facts
    }
}

/// The three servers which the captures were made with.
pub(crate) fn servers<'a>() -> [Server<'a>; 3] {
    let web = || {
        ["roles::web", "profile::base", "Mixed::Case"]
            .map(str::to_owned)
            .to_vec()
    };
    [
        Server {
            identity: "web1.example.net",
            classes: web(),
            facts: r#"{"os":{"family":"RedHat","release":{"major":"9"}},"cpus":4,"load":1.5,"virtual":false,"tags":["a","b"],"dc":"lon"}"#,
        },
        Server {
            identity: "web2.example.net",
            classes: web(),
            facts: r#"{"os":{"family":"RedHat","release":{"major":"9"}},"cpus":8,"load":1.5,"virtual":false,"tags":["a","b"],"dc":"ams"}"#,
        },
        Server {
            identity: "db1.example.net",
            classes: ["roles::db", "profile::base"].map(str::to_owned).to_vec(),
            facts: r#"{"os":{"family":"Debian","release":{"major":"13"}},"cpus":2,"load":0.5,"virtual":true,"tags":[],"dc":"lon"}"#,
        },
    ]
}
