//! A line of the audit log as a CloudEvent, structured JSON.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::audit::Line;

/// What the types of events begin with.
const TYPE: &str = "io.muster.provisioner.v1";
/// What their sources begin with; the name of the service follows.
const SOURCE: &str = "io.muster.provisioner";

/// A CloudEvent 1.0 (`CloudEvents` specification, JSON format). Source and id name it among all events.
#[derive(Debug, Serialize)]
pub(crate) struct CloudEvent<'a> {
    specversion: &'static str,
    /// Hash of the line.
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// The node, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Timestamp,
    datacontenttype: &'static str,
    /// The line, byte for byte.
    data: &'a RawValue,
}

impl<'a> CloudEvent<'a> {
    /// The event a line is told as by the service of this name.
    pub(crate) fn of(line: &'a Line, service: &str) -> Result<Self, serde_json::Error> {
        Ok(Self {
            specversion: "1.0",
            id: &line.anchor.hash,
            source: format!("{SOURCE}/{service}"),
            kind: format!("{TYPE}.{}", line.what),
            subject: line.node.as_deref(),
            time: line.at,
            datacontenttype: "application/json",
            data: serde_json::from_str(&line.text)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::audit::Anchor;

    #[test]
    fn a_line_is_told_byte_for_byte() {
        let text = r#"{"seq":7,"at":"2026-01-02T03:04:05Z","prev":"aa","event":{"what":"configured","node":"n1"},"hash":"ab"}"#;
        let line = Line {
            anchor: Anchor {
                seq: 7,
                hash: "ab".to_owned(),
            },
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            what: "configured".to_owned(),
            node: Some("n1".to_owned()),
            text: text.to_owned(),
        };
        let event = CloudEvent::of(&line, "p1").unwrap();
        let told = serde_json::to_string(&event).unwrap();
        let wanted = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"ab\",\"source\":\"io.muster.provisioner/p1\",\
             \"type\":\"io.muster.provisioner.v1.configured\",\"subject\":\"n1\",\
             \"time\":\"2026-01-02T03:04:05Z\",\"datacontenttype\":\"application/json\",\
             \"data\":{text}}}"
        );
        assert_eq!(told, wanted);
    }
}
