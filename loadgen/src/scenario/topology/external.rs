//! Reads a tier of somebody else's brokers.

use crate::scenario::model::External;
use crate::scenario::read::{Context, Reader};
use crate::scenario::tree::Value;
use crate::scenario::words::Manage;

/// Keys that only brokers of somebody else have.
const EXTERNAL_KEYS: [&str; 8] = [
    "servers",
    "context",
    "ca",
    "user",
    "password_file",
    "token_file",
    "issuer",
    "issuer_key",
];
/// Keys that only brokers we start have.
const LOCAL_KEYS: [&str; 4] = ["cluster", "leaf_of", "gateway", "max_conns"];

/// Whether the first address has the scheme of plain TCP.
pub(super) fn has_plain_address(reader: &Reader<'_>) -> bool {
    let servers = reader.item("servers").map(|item| &item.value);
    match servers {
        Some(Value::List(items)) => items.first().is_some_and(
            |item| matches!(&item.value, Value::Text(text) if text.starts_with("nats://")),
        ),
        _ => false,
    }
}

/// Reads where they are and how to get in; nothing where the brokers are ours.
pub(super) fn read_external(
    reader: &Reader<'_>,
    manage: Manage,
    cx: &mut Context,
) -> Option<External> {
    if manage != Manage::External {
        for entry in reader.present() {
            if EXTERNAL_KEYS.contains(&entry.name.as_str()) {
                let message = format!(
                    "`{}` is for brokers of somebody else; with manage = \"local\" we make it",
                    entry.name
                );
                cx.mistake(entry.place, message);
            }
        }
        return None;
    }
    let mut text = |name: &str| reader.text(name, cx).map(|at| at.value);
    let (context, ca) = (text("context"), text("ca"));
    let (user, password_file) = (text("user"), text("password_file"));
    let token_file = text("token_file");
    let (issuer, issuer_key) = (text("issuer"), text("issuer_key"));
    for entry in reader.present() {
        if LOCAL_KEYS.contains(&entry.name.as_str()) {
            let message = format!(
                "`{}` is for brokers that we start; these are somebody else's",
                entry.name
            );
            cx.mistake(entry.place, message);
        }
    }
    let mut servers = Vec::new();
    for server in reader.texts("servers", cx).unwrap_or_default() {
        if server.value.starts_with("tls://") || server.value.starts_with("nats://") {
            servers.push(server.value);
        } else {
            let message = format!(
                "\"{}\" is no address; write \"tls://{0}\" or \"nats://{0}\"",
                server.value
            );
            cx.mistake(server.place, message);
        }
    }
    if !reader.has("servers") && context.is_none() {
        cx.mistake(
            reader.place(),
            "a broker of somebody else needs an address; write servers = [\"tls://host:4222\"] \
             or context = \"file.json\"",
        );
    }
    if reader.has("servers") && context.is_some() {
        cx.mistake(
            reader.place_of("context"),
            "servers and context both say where the brokers are; leave one out",
        );
    }
    if user.is_some() && password_file.is_none() {
        cx.mistake(
            reader.place_of("user"),
            "user goes with a password; write password_file = \"file\" beside it",
        );
    }
    for (has, key, lacks) in [
        (&issuer, "issuer", &issuer_key),
        (&issuer_key, "issuer_key", &issuer),
    ] {
        if has.is_some() && lacks.is_none() {
            let message = "issuer and issuer_key go together: the certificate and the key that \
                           nodes' certificates are signed with";
            cx.mistake(reader.place_of(key), message);
        }
    }
    Some(External {
        servers,
        context,
        ca,
        user,
        password_file,
        token_file,
        issuer: issuer.zip(issuer_key),
    })
}
