//! Reading what `[ca]` says of an ACME server.

use std::time::Duration;

use super::{environment, optional};
use crate::config::read::{SECOND, secret};
use crate::config::reader::Section;
use crate::config::{AcmeConfig, Dns, HttpApi, SecretSource};

pub(super) fn read(section: &Section<'_, '_>) -> HttpApi {
    HttpApi::Acme(Box::new(AcmeConfig {
        account: section.path("account", "\"acme-account.json\""),
        contact: contact(section),
        terms_agreed: section.flag("terms_of_service_agreed", false),
        external: external(section),
        profile: optional(section, "profile", "\"shortlived\""),
        dns: dns(section),
        order_timeout: section.duration("order_timeout", 60 * SECOND, SECOND),
    }))
}

/// Addresses as RFC 8555 §7.3 wants them: URLs.
fn contact(section: &Section<'_, '_>) -> Vec<String> {
    let example = "[\"mailto:ca@example.net\"]";
    let Some(contact) = section.texts("contact", example) else {
        return Vec::new();
    };
    for address in &contact.value {
        if !address.contains(':') {
            let says = format!("has {address:?}, which is no URL; write contact = {example}");
            section.report(&contact, says);
        }
    }
    contact.value
}

fn external(section: &Section<'_, '_>) -> Option<(crate::config::Located<String>, SecretSource)> {
    let kid = section.text("eab_kid", "\"kid-1\"");
    let key = secret(section, "eab_key");
    match (&kid, &key) {
        (Some(_), None) => section.missing("eab_key_file", "\"eab.key\""),
        (None, Some(_)) => section.missing("eab_kid", "\"kid-1\""),
        _ => {}
    }
    kid.zip(key)
}

fn dns(section: &Section<'_, '_>) -> Option<Dns> {
    let example = "[\"/usr/local/bin/acme-dns\"]";
    let command = section.command("dns_command", example);
    let dns = Dns {
        environment: environment(section),
        timeout: section.duration("dns_timeout", 60 * SECOND, SECOND),
        wait: section.duration("dns_wait", Duration::ZERO, Duration::ZERO),
        command: command?,
    };
    if dns.command.value.is_empty() {
        let says = format!("is empty; write dns_command = {example}");
        section.report(&dns.command, says);
    }
    Some(dns)
}
