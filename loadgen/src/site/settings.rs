//! What a provisioner writes into the `server.conf` of each node: templates over the facts by which
//! nodes tell their fleet and their broker.

use std::collections::BTreeMap;

use super::Site;
use crate::formation::broker::Post;
use crate::message::{FACT_BROKER, FACT_FLEET, ROOTS};
use crate::scenario::{Fleet, Issues, Role, Start};

impl Site {
    /// What enrolled nodes find in their `server.conf`, beside what a provisioner always sends.
    pub(super) fn node_settings(&self, fleets: &[Fleet]) -> BTreeMap<String, String> {
        let enrolled = |fleet: &&Fleet| fleet.start == Start::Unprovisioned;
        let mut collectives: Vec<String> = Vec::new();
        for fleet in fleets.iter().filter(enrolled) {
            let joined = fleet.collectives.join(",");
            if !collectives.contains(&joined) {
                collectives.push(joined);
            }
        }
        let of_fleet = |value: &dyn Fn(&Fleet) -> String| {
            // Nodes tell which fleet they are of in a fact; the template picks by it.
            let mut text = String::new();
            for (index, fleet) in fleets.iter().filter(enrolled).enumerate() {
                let word = if index == 0 { "if" } else { "elif" };
                let (name, value) = (&fleet.name, value(fleet));
                text.push_str(&format!(
                    "{{% {word} facts.{FACT_FLEET} == \"{name}\" %}}{value}"
                ));
            }
            text + "{% endif %}"
        };
        let collectives = match collectives.as_slice() {
            [same] => same.clone(),
            _ => of_fleet(&|fleet| fleet.collectives.join(",")),
        };
        let mut settings = BTreeMap::from([
            (
                "plugin.choria.middleware_hosts".to_owned(),
                self.middleware_hosts(),
            ),
            ("plugin.choria.use_srv".to_owned(), "false".to_owned()),
            ("collectives".to_owned(), collectives),
            ("registerinterval".to_owned(), "300".to_owned()),
            (
                "plugin.actionpolicy.enable_default".to_owned(),
                "true".to_owned(),
            ),
        ]);
        if self.issues == Issues::Tokens {
            // Sent with certificates, and there already where nodes get none.
            settings.insert("plugin.security.choria.ca".to_owned(), ROOTS.to_owned());
        }
        settings
    }

    /// The brokers of an enrolled node's tier, the one it starts at first. A node tells which one
    /// that is in a fact; the template picks by it.
    fn middleware_hosts(&self) -> String {
        let posts: Vec<&Post> = self.formation.of_role(Role::Production).collect();
        let hosts = |first: &Post| {
            let mut tier: Vec<&Post> = self.formation.of_tier(&first.tier).collect();
            let at = tier.iter().position(|post| post.name == first.name);
            tier.rotate_left(at.unwrap_or_default());
            let hosts = tier.iter().map(|post| post.host());
            hosts.collect::<Vec<_>>().join(",")
        };
        if let [only] = posts.as_slice() {
            return hosts(only);
        }
        let mut text = String::new();
        for (index, post) in posts.iter().enumerate() {
            let word = if index == 0 { "if" } else { "elif" };
            let (name, hosts) = (&post.name, hosts(post));
            text.push_str(&format!(
                "{{% {word} facts.{FACT_BROKER} == \"{name}\" %}}{hosts}"
            ));
        }
        text + "{% endif %}"
    }
}
