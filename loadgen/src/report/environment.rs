//! Where and how the run was made, from its manifest.

use super::folder::{FindingRead, ManifestRead};
use crate::units::{Size, brief_duration, grouped};

/// Names and values for a list; what is not known is left out.
pub(super) fn environment(manifest: &ManifestRead) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let mut put = |name: &str, value: Option<String>| {
        let value = value.filter(|value| !value.is_empty());
        list.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("Command", Some(manifest.command.join(" ")));
    put(
        "Tool",
        manifest.tool.as_ref().map(|tool| {
            let revision = tool
                .revision
                .as_deref()
                .map(|of| format!(", revision {of}"));
            let revision = revision.unwrap_or_default();
            format!(
                "{} {} ({} build{revision})",
                tool.name, tool.version, tool.profile
            )
        }),
    );
    if let Some(scenario) = &manifest.scenario {
        put("Scenario", Some(scenario.path.clone()));
        put("Seed", Some(scenario.seed.to_string()));
        let params = scenario.params.iter();
        let params: Vec<String> = params
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        put("Parameters", Some(params.join(", ")));
        put("Scenario SHA-256", Some(scenario.sha256.clone()));
        put("Plan SHA-256", Some(scenario.plan_sha256.clone()));
    }
    let started = manifest
        .started
        .map(|at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    put("Started", started);
    let length = manifest.duration_us.map(std::time::Duration::from_micros);
    put("Length", length.map(brief_duration));
    let host = &manifest.host;
    let machine = [
        host.cpu_model.clone(),
        host.cores.map(|n| format!("{n} cores")),
        host.memory_bytes.map(|bytes| Size(bytes).brief()),
        host.kernel.clone(),
        host.clocksource.as_ref().map(|of| format!("clock {of}")),
    ];
    put("Machine", Some(join(machine)));
    let limits = [
        host.descriptors
            .map(|n| format!("{} descriptors a process", grouped(n))),
        host.port_range
            .map(|(first, last)| format!("local ports {first} to {last}")),
        host.somaxconn.map(|n| format!("somaxconn {n}")),
        host.tcp_tw_reuse.map(|n| format!("tcp_tw_reuse {n}")),
    ];
    put("Limits of the system", Some(join(limits)));
    put("Workers", (manifest.workers > 0).then(|| workers(manifest)));
    let settings = manifest.settings.iter();
    let settings: Vec<String> = settings
        .map(|(name, value)| format!("{name}: {}", plain(value)))
        .collect();
    put("Settings", Some(settings.join(", ")));
    for (name, broker) in &manifest.brokers {
        put(&format!("Broker {name}"), Some(self::broker(broker)));
    }
    for FindingRead { check, ok, says } in &manifest.preflight {
        let sign = if *ok { "✓" } else { "!" };
        put(
            &format!("Preflight {check}"),
            Some(format!("{sign} {says}")),
        );
    }
    list
}

fn workers(manifest: &ManifestRead) -> String {
    let lost = manifest
        .placement
        .iter()
        .filter(|of| of.get("lost").is_some_and(|lost| !lost.is_null()));
    let remote = manifest
        .placement
        .iter()
        .filter(|of| of.get("local") == Some(&false.into()));
    let parts = [
        Some(manifest.workers.to_string()),
        Some(remote.count())
            .filter(|n| *n > 0)
            .map(|n| format!("{n} on other machines")),
        Some(lost.count())
            .filter(|n| *n > 0)
            .map(|n| format!("{n} lost")),
    ];
    join(parts)
}

fn broker(told: &serde_json::Value) -> String {
    let of = |name: &str| told.get(name).map(plain);
    join([
        of("version").map(|version| format!("nats-server {version}")),
        of("go"),
        of("gomaxprocs").map(|n| format!("GOMAXPROCS {n}")),
        of("max_connections").map(|n| format!("at most {n} connections")),
        of("slow_consumers").map(|n| format!("{n} slow consumers")),
    ])
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn join(parts: impl IntoIterator<Item = Option<String>>) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
