//! What the tests of hooks and those of whole fleets need of the same authorities.

use std::path::Path;

/// SoftHSM's library, where Debian and others have it.
pub(crate) fn softhsm() -> Option<&'static str> {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    places.into_iter().find(|path| Path::new(path).exists())
}

/// A `dns_command` that tells pebble's name server, and a log: its arguments are the server's port of
/// management and the log's file.
pub(crate) const COMMAND: &str = r#"
import json, sys, urllib.request
management, log, verb, name, value = sys.argv[1:]
print(verb, name, value, file=open(log, "a"))
path, body = {"present": ("set-txt", {"host": name, "value": value}),
              "cleanup": ("clear-txt", {"host": name})}[verb]
urllib.request.urlopen(f"http://127.0.0.1:{management}/{path}", json.dumps(body).encode()).read()
"#;

/// What docs/hooks.md tells sites to set at step-ca: certificates for clients only.
pub(crate) const TEMPLATE: &str = r#"{
  "subject": {{ toJson .Subject }},
  "sans": {{ toJson .SANs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}"#;
