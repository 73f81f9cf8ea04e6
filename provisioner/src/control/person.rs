//! Who is at the other end of the socket, as the kernel knows that person.

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

/// Longest name that is kept.
const LONGEST: usize = 64;

/// What the person says about themselves; only ever shown beside what the kernel says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Said {
    /// Who called `sudo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sudo: Option<String>,
}

impl Said {
    /// By the environment of this process.
    pub(super) fn here() -> Self {
        let sudo = std::env::var("SUDO_USER").ok();
        Self { sudo }
    }
}

/// Whether this user may tell a service of ours what to do: its own, and root.
pub(super) fn may_tell(uid: u32) -> bool {
    uid == 0 || uid == Uid::effective().as_raw()
}

/// The name of a user, with whom it stands for where it says so.
pub(super) fn name(uid: u32, said: &Said) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let user = user.map_or_else(|| format!("uid {uid}"), |user| user.name);
    let sudo = said.sudo.as_deref().filter(|sudo| *sudo != user);
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.@".contains(*c);
    match sudo.map(|sudo| sudo.chars().filter(plain).take(LONGEST).collect::<String>()) {
        Some(sudo) if !sudo.is_empty() => format!("{user} (sudo by {sudo})"),
        _ => user,
    }
}

/// The user of this process.
pub(super) fn here() -> String {
    name(Uid::effective().as_raw(), &Said::here())
}
