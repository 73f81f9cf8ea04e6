//! Every control subject, built and read in one place.
//!
//! A worker names itself by an id it makes up; a seat number is known only later.

/// What every subject begins with.
const ROOT: &str = "loadgen.control";

/// Where worker `id` speaks.
pub fn up(id: &str) -> String {
    format!("{ROOT}.up.{id}")
}

/// Where all workers speak, to subscribe to. One subscription, so that order is kept.
pub fn up_all() -> String {
    format!("{ROOT}.up.*")
}

/// Where worker `id` is spoken to.
pub fn down(id: &str) -> String {
    format!("{ROOT}.down.{id}")
}

/// Where a coordinator asks whether another one is there, and where it hears that question.
pub fn coordinators() -> String {
    format!("{ROOT}.coordinators")
}

/// The worker that speaks on a subject.
pub fn speaker(subject: &str) -> Option<&str> {
    let id = subject.strip_prefix(ROOT)?.strip_prefix(".up.")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!id.is_empty() && id.len() <= 64 && id.chars().all(plain)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speaker_is_found_by_its_subject_and_by_nothing_else() {
        assert_eq!(speaker(&up("a1b2")), Some("a1b2"));
        for other in [down("a1b2"), up(""), up("a.b"), up_all(), "x".to_owned()] {
            assert_eq!(speaker(&other), None, "{other}");
        }
    }
}
