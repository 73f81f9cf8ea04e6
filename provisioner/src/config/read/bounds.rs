//! The tables that bound the service, say how it tries again and how it is seen.

use std::time::Duration;

use super::super::reader::Section;
use super::super::{Limits, Log, Retry, Sweep, Timeouts};
use super::{DAY, SECOND, located};
use crate::audit;
use crate::ledger::Reprovision;

const MILLISECOND: Duration = Duration::from_millis(1);

pub(super) fn limits(section: Section<'_, '_>) -> Limits {
    let limits = Limits {
        queue: section.number("queue", 100_000, 1..10_000_001),
        probes: section.number("probes", 1_000, 1..100_001),
        nodes: section.number("nodes", 512, 1..100_001),
        hook: section.number("hook", 4, 1..1_001),
        ca: section.number("ca", 2, 1..1_001),
        confirm: section.number("confirm", 20_000, 1..1_000_001),
    };
    section.finish();
    limits
}

pub(super) fn timeouts(section: Section<'_, '_>) -> Timeouts {
    let timeouts = Timeouts {
        probe: section.duration("probe", 2 * SECOND, 10 * MILLISECOND),
        node: section.duration("node", 20 * SECOND, 10 * MILLISECOND),
        restart: section.duration("restart", 5 * SECOND, 10 * MILLISECOND),
        confirm: section.duration("confirm", 120 * SECOND, 3 * SECOND),
        unconfirmed: section.duration("unconfirmed", 30 * DAY, 3 * SECOND),
        event_age: section.duration("event_age", 300 * SECOND, SECOND),
    };
    section.finish();
    timeouts
}

pub(super) fn retry(section: Section<'_, '_>) -> Retry {
    let retry = Retry {
        attempts: section.number("attempts", 2, 0..21),
        first: section.duration("first", 5 * SECOND, 10 * MILLISECOND),
        max: section.duration("max", 600 * SECOND, 10 * MILLISECOND),
        forget_after: section.number("forget_after", 12, 1..1_001),
    };
    section.finish();
    Retry {
        max: retry.max.max(retry.first),
        ..retry
    }
}

pub(super) fn reprovision(section: Section<'_, '_>) -> Reprovision {
    let words: Vec<_> = Reprovision::ALL.iter().map(|word| word.as_str()).collect();
    let default = Reprovision::Approval;
    let policy = section.word("policy", &words, default.as_str());
    section.finish();
    policy.parse().unwrap_or(default)
}

pub(super) fn audit(section: Section<'_, '_>) -> audit::Settings {
    let mib = section.number("reserve_mib", 64, 0..1_048_577);
    let settings = audit::Settings {
        reserve: (mib as u64) << 20,
        checkpoint: section.duration("checkpoint", 60 * SECOND, SECOND),
    };
    section.finish();
    settings
}

pub(super) fn sweep(section: Section<'_, '_>) -> Sweep {
    let sweep = Sweep {
        interval: section.duration("interval", 60 * SECOND, SECOND),
        window: section.duration("window", 2 * SECOND, 50 * MILLISECOND),
    };
    section.finish();
    sweep
}

pub(super) fn http(section: Section<'_, '_>) -> Option<String> {
    let default = "127.0.0.1:9464";
    let listen = section.text("listen", &format!("\"{default}\""));
    let address = match &listen {
        None => Some(default.to_owned()),
        Some(text) if text.value == "off" => None,
        Some(text) => {
            if text.value.parse::<std::net::SocketAddr>().is_err() {
                let says = format!(
                    "{:?} is not an address and port; write listen = \"{default}\" or \"off\"",
                    text.value
                );
                section.report(text, says);
            }
            Some(text.value.clone())
        }
    };
    section.finish();
    address
}

pub(super) fn log(section: Section<'_, '_>) -> Log {
    let level = section
        .text("level", "\"info\"")
        .unwrap_or_else(|| located("info".to_owned()));
    if let Err(error) = level.value.parse::<tracing_subscriber::filter::Targets>() {
        section.report(
            &level,
            format!("{:?} is no log filter: {error}", level.value),
        );
    }
    let json = section.word("format", &["text", "json"], "text") == "json";
    section.finish();
    Log { level, json }
}
