//! The brokers that both sides are measured on, started once.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use loadgen::formation::Formation;
use loadgen::formation::broker::Post;
use loadgen::formation::nats_server::NatsServer;
use loadgen::guard::RunMark;
use loadgen::scenario;

/// Starts a cluster of `count` brokers in `folder` and waits until it is ready.
///
/// # Errors
/// When nats-server is missing or a broker does not come up.
pub async fn start(
    count: usize,
    mutual: bool,
    folder: &Path,
    mark: &RunMark,
) -> anyhow::Result<Formation> {
    let server = NatsServer::find(None).context("run tools/bootstrap first")?;
    let tls = if mutual { "mutual" } else { "none" };
    let text = format!(
        "schema = 1\nname = \"floor\"\nabout = \"brokers to be measured on\"\nseed = 1\n\
         [topology]\nmanage = \"local\"\n[[topology.broker]]\nname = \"hub\"\ncount = {count}\n\
         tls = \"{tls}\"\n[provisioner]\nmanage = \"none\"\n[[fleet]]\nname = \"nodes\"\n\
         nodes = 1\nstart = \"production\"\n[[phase]]\nname = \"connect\"\n\
         [[phase.op]]\ndo = \"connect\"\nfleet = \"*\"\n\
         pace = {{ model = \"closed\", kind = \"in-flight\", limit = 1 }}\n"
    );
    let scenario = scenario::parse(Path::new("floor.toml"), &text, &[])?;
    let tiers = &scenario.topology.tiers;
    Ok(Formation::start("floor", tiers, folder, &server, mark).await?)
}

/// Where clients reach them.
///
/// # Errors
/// When an address is none.
pub fn addresses(formation: &Formation) -> anyhow::Result<Vec<SocketAddr>> {
    let address = |post: &Post| Ok(post.address.parse()?);
    formation.posts().map(address).collect()
}
