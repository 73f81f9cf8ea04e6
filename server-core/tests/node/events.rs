//! Lifecycle events as captured, in both directions.

use server_core::events::{Event, EventKind, Format};
use server_core::wire::Limits;

use crate::load::captures;

#[test]
fn captured_events_are_read_and_written_byte_for_byte() {
    let mut kinds = Vec::new();
    let all = ["events", "provisioning/calls", "provisioning/x509"]
        .into_iter()
        .flat_map(captures);
    for capture in all.filter(|one| one.name.contains("lifecycle-") || one.name.contains("-event-"))
    {
        let text = capture.file["payload"].as_str().unwrap();
        let event = Event::parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(event.subject(), capture.file["subject"], "{}", capture.name);
        let format = if text.contains("specversion") {
            Format::CloudEvents
        } else {
            Format::Bare
        };
        let written = String::from_utf8(event.encode(format).unwrap()).unwrap();
        assert_eq!(written, text, "{}", capture.name);
        kinds.push((event.kind.name(), event.component));
    }
    for wanted in ["startup", "shutdown", "alive", "provisioned", "governor"] {
        assert!(
            kinds.iter().any(|(kind, _)| *kind == wanted),
            "{wanted} was captured"
        );
    }
    assert!(
        kinds.contains(&("startup", "provisioner".to_owned())),
        "which is no node's component"
    );
}

#[test]
fn what_is_no_event_is_refused_with_its_code() {
    let limits = Limits::default();
    let code = |text: &str| Event::parse(text.as_bytes(), &limits).unwrap_err().code();
    let bare = |protocol: &str, identity: &str, component: &str| {
        format!(
            r#"{{"protocol":"{protocol}","id":"1","identity":"{identity}","component":"{component}","timestamp":1}}"#
        )
    };
    let startup = "io.choria.lifecycle.v1.startup";
    assert_eq!(code(""), "event.shape");
    assert_eq!(code("[]"), "event.type");
    assert_eq!(code("{}"), "event.type");
    assert_eq!(
        code(&bare("choria:lifecycle:startup:1", "n1", "server")),
        "event.type"
    );
    assert_eq!(
        code(&bare("io.choria.lifecycle.v1.dance", "n1", "server")),
        "event.type"
    );
    assert_eq!(code(&bare(startup, "../n1", "server")), "event.identity");
    assert_eq!(code(&bare(startup, "n1 x", "server")), "event.identity");
    assert_eq!(code(&bare(startup, "n1", "a b")), "event.component");
    assert_eq!(code(&bare(startup, "n1", "")), "event.component");
    assert_eq!(code(&"x".repeat(2_000_000)), "event.size");
    let event = Event::parse(bare(startup, "n1", "server").as_bytes(), &limits).unwrap();
    assert_eq!(
        event.kind,
        EventKind::Startup {
            version: String::new()
        }
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = Event::parse(&bytes, &Limits::default());
    }

    #[test]
    fn any_json_is_read_without_panic(text in r#"\{("(protocol|identity|specversion|source|data|timestamp)":("[a-z.1]{0,30}"|[0-9]{1,20}|\{\}|null),?){0,6}\}"#) {
        let _ = Event::parse(text.as_bytes(), &Limits::default());
    }
}
