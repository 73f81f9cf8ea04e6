//! From a file's text to a validated scenario.

mod include;

pub(super) use include::Files;
use include::{Reading, read_file};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::asserts::read_asserts;
use super::collectives::check_collectives;
use super::fleets::read_fleets;
use super::keys::{SCENARIO, SCHEMA};
use super::mistake::{Findings, Mistakes, Place, suggestion};
use super::model::{Generator, Limits, Output, Preflight, Scenario};
use super::paces::read_paces;
use super::phases::read_phases;
use super::read::{Context, Reader};
use super::renewal::check_renewal;
use super::tokens::check_tokens;
use super::topology::{read_provisioner, read_topology};
use super::tree::{Item, Params, Table, Value, substitute};
use super::words::{Check, Format, Manage, OnFail, SourceAddress, Verify};

/// `--set name=value`: a parameter given on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Name of the parameter.
    pub name: String,
    /// Its value as written; read in the type the scenario gives it.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok(Self {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err("write name=value, as nodes=2000".to_owned()),
        }
    }
}

/// Reads and validates a scenario file, with the files it includes.
///
/// # Errors
/// Every mistake, in file order.
pub fn load(path: &Path, assignments: &[Assignment]) -> Result<Scenario, Mistakes> {
    let mut findings = Findings::default();
    match read_file(path) {
        Ok(text) => parse(path, &text, assignments),
        Err(why) => {
            findings.mistake_of_option(&path.display().to_string(), why);
            Err(findings.into_mistakes())
        }
    }
}

/// Validates a scenario's text; `path` names it in messages, and is where includes are found from.
///
/// # Errors
/// Every mistake, in file order.
pub fn parse(path: &Path, text: &str, assignments: &[Assignment]) -> Result<Scenario, Mistakes> {
    parse_from(Files::Disk, path, text, assignments)
}

/// As [`parse`], with the included files from `files`.
pub(super) fn parse_from(
    files: Files<'_>,
    path: &Path,
    text: &str,
    assignments: &[Assignment],
) -> Result<Scenario, Mistakes> {
    let mut findings = Findings::default();
    let mut root = Reading::new(files, &mut findings).source(path, text);
    // A file that is no TOML is not judged further: half of it may be missing.
    if !findings.is_clean() {
        return Err(findings.into_mistakes());
    }
    if let Some(newer) = newer_schema(&root) {
        let message = format!(
            "schema = {} is newer than this tool reads; it reads {SCHEMA}: use a newer loadgen",
            newer.1
        );
        findings.mistake(newer.0, message);
        return Err(findings.into_mistakes());
    }
    let params = read_params(&root, assignments, &mut findings);
    for entry in &mut root.entries {
        if entry.name != "params" {
            substitute(&mut entry.item, &params, &mut findings);
        }
    }
    let mut cx = Context { findings, params };
    let scenario = read(&root, &mut cx);
    match scenario {
        Some(mut scenario) if cx.findings.is_clean() => {
            scenario.sources = cx.findings.sources;
            scenario.assignments = assignments.to_vec();
            Ok(scenario)
        }
        _ => Err(cx.findings.into_mistakes()),
    }
}

fn read(root: &Table, cx: &mut Context) -> Option<Scenario> {
    let reader = Reader::new(&SCENARIO, root, cx);
    let _ = reader.whole("schema", cx);
    let name = reader.name("name", cx);
    let about = reader.text("about", cx);
    let seed = reader.count("seed", cx);
    let limits = read_limits(&reader, cx);
    let preflight = read_preflight(&reader, cx);
    let output = read_output(&reader, cx);
    let paces = read_paces(&reader, cx);
    let mut topology = read_topology(&reader, cx);
    let generator = read_generator(&reader, topology.manage, cx);
    let enrols = super::phases::has_provision(&reader);
    let provisioner = read_provisioner(&reader, enrols, cx);
    let fleets = read_fleets(&reader, &topology, enrols, cx);
    super::topology::add_provisioning_tier(&mut topology, &fleets, provisioner.manage, cx);
    check_tokens(&provisioner, &topology, &fleets, cx);
    check_collectives(&provisioner, &fleets, cx);
    let (phases, names) = read_phases(&reader, &paces, &fleets, &topology, &provisioner, cx);
    check_renewal(&provisioner, &phases, cx);
    let asserts = read_asserts(&reader, &names, cx);
    Some(Scenario {
        name: name?.value,
        about: about.map(|text| text.value).unwrap_or_default(),
        seed: seed.map_or(1, |seed| seed.value),
        params: cx
            .params
            .iter()
            .map(|(name, item)| (name.clone(), item.value.to_json()))
            .collect::<BTreeMap<_, _>>(),
        limits,
        preflight,
        generator,
        topology,
        provisioner,
        fleets,
        phases,
        asserts,
        output,
        sources: Vec::new(),
        assignments: Vec::new(),
        only_up: false,
    })
}

fn read_limits(reader: &Reader<'_>, cx: &mut Context) -> Limits {
    let Some(reader) = reader.section("limits", cx) else {
        return Limits::default();
    };
    Limits {
        wall_time: reader.duration("wall_time", cx).map(|at| at.value),
        gen_cpu_pct: reader.number("gen_cpu_pct", cx).map(|at| at.value),
        gen_sched_lag_p99: reader.duration("gen_sched_lag_p99", cx).map(|at| at.value),
        fd_use_pct: reader.number("fd_use_pct", cx).map(|at| at.value),
        late_sends_pct: reader.number("late_sends_pct", cx).map(|at| at.value),
    }
}

fn read_preflight(reader: &Reader<'_>, cx: &mut Context) -> Preflight {
    let reader = reader.section("preflight", cx);
    let require = reader
        .as_ref()
        .and_then(|reader| reader.choices("require", cx));
    let on_fail = reader
        .as_ref()
        .and_then(|reader| reader.choice("on_fail", cx));
    Preflight {
        require: require.unwrap_or_else(|| Check::ALL.to_vec()),
        on_fail: on_fail.map_or(OnFail::Stop, |at| at.value),
    }
}

/// Where connections come from unless the scenario says so. To brokers on loopback they come from
/// twenty addresses: the system looks for a free port much longer when all come from one.
fn usual_source(brokers: Manage) -> (SourceAddress, Vec<IpAddr>) {
    const ADDRESSES: u8 = 20;
    match brokers {
        Manage::Local if cfg!(target_os = "linux") => {
            let addresses = (2..2 + ADDRESSES).map(|last| Ipv4Addr::new(127, 0, 0, last).into());
            (SourceAddress::BindNoPort, addresses.collect())
        }
        _ => (SourceAddress::Unbound, Vec::new()),
    }
}

fn read_generator(reader: &Reader<'_>, brokers: Manage, cx: &mut Context) -> Generator {
    let (usual_source, usual_addrs) = usual_source(brokers);
    let Some(reader) = reader.section("generator", cx) else {
        return Generator {
            workers: None,
            may_lose: 0,
            source: usual_source,
            addrs: usual_addrs,
            verification: Verify::Shared,
            read_buffer: None,
        };
    };
    let workers = reader.count("workers", cx);
    let may_lose = reader.count("may_lose", cx).map_or(0, |at| at.value);
    if let Some(workers) = workers
        .as_ref()
        .filter(|at| at.value <= may_lose && may_lose > 0)
    {
        cx.mistake(
            reader.place_of("may_lose"),
            format!(
                "may_lose = {may_lose} leaves none of {} workers; write less than workers",
                workers.value
            ),
        );
    }
    let usual = !reader.has("source");
    let source = reader
        .choice("source", cx)
        .map_or(usual_source, |at| at.value);
    let mut addrs = Vec::new();
    for text in reader.texts("addrs", cx).unwrap_or_default() {
        match text.value.parse() {
            Ok(addr) => addrs.push(addr),
            Err(_) => cx.mistake(
                text.place,
                format!(
                    "\"{}\" is no IP address; write one, as \"127.0.0.2\"",
                    text.value
                ),
            ),
        }
    }
    match (source, reader.has("addrs")) {
        (SourceAddress::Unbound, true) => cx.mistake(
            reader.place_of("addrs"),
            "addrs means nothing for source = \"unbound\"; write source = \"bind-no-port\"",
        ),
        (_, false) if usual => addrs = usual_addrs,
        (SourceAddress::Bind | SourceAddress::BindNoPort, false) => cx.mistake(
            reader.place_of("source"),
            format!("source = \"{source}\" needs addresses; write addrs = [\"127.0.0.2\"]"),
        ),
        _ => {}
    }
    Generator {
        workers: workers.and_then(|at| u32::try_from(at.value).ok()),
        may_lose: u32::try_from(may_lose).unwrap_or(u32::MAX),
        source,
        addrs,
        verification: reader
            .choice("verification", cx)
            .map_or(Verify::Shared, |at| at.value),
        read_buffer: reader.size("read_buffer", cx).map(|at| at.value),
    }
}

fn read_output(reader: &Reader<'_>, cx: &mut Context) -> Output {
    let reader = reader.section("output", cx);
    let interval = reader
        .as_ref()
        .and_then(|reader| reader.duration("interval", cx));
    let formats = reader
        .as_ref()
        .and_then(|reader| reader.choices("formats", cx));
    if let Some(at) = interval.as_ref().filter(|at| at.value.as_millis() < 100) {
        cx.mistake(at.place, "interval is too short; write \"100ms\" or longer");
    }
    Output {
        interval: interval.map_or(std::time::Duration::from_secs(1), |at| at.value),
        formats: formats
            .unwrap_or_else(|| vec![Format::Json, Format::Csv, Format::Hlog, Format::Html]),
    }
}

/// The place and value of a schema newer than this tool's.
fn newer_schema(root: &Table) -> Option<(Place, i64)> {
    match &root.get("schema")?.item {
        Item {
            value: Value::Integer(n),
            place,
            ..
        } if *n > SCHEMA => Some((*place, *n)),
        _ => None,
    }
}

/// `[params]` with the values given on the command line.
fn read_params(root: &Table, assignments: &[Assignment], out: &mut Findings) -> Params {
    let mut params = Params::new();
    if let Some(entry) = root.get("params") {
        match &entry.item.value {
            Value::Table(table) => {
                for entry in &table.entries {
                    if matches!(entry.item.value, Value::List(_) | Value::Table(_)) {
                        let message = format!(
                            "parameter {} is {}; a parameter is a text, a number, true or false",
                            entry.name,
                            entry.item.value.what()
                        );
                        out.mistake(entry.item.place, message);
                    }
                    params.insert(entry.name.clone(), entry.item.clone());
                }
            }
            other => {
                let message = format!("params is {}; write it as [params]", other.what());
                out.mistake(entry.place, message);
            }
        }
    }
    for assignment in assignments {
        assign(assignment, &mut params, out);
    }
    params
}

fn assign(assignment: &Assignment, params: &mut Params, out: &mut Findings) {
    let Assignment { name, value } = assignment;
    let option = format!("--set {name}={value}");
    let Some(param) = params.get_mut(name) else {
        let names: Vec<&str> = params.keys().map(String::as_str).collect();
        let near = suggestion(name, "parameters", names);
        out.mistake_of_option(&option, format!("{name} is not in [params]{near}"));
        return;
    };
    let plain = value.replace('_', "");
    let given = match &param.value {
        Value::Integer(_) => plain.parse().ok().map(Value::Integer),
        Value::Float(_) => plain
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
            .map(Value::Float),
        Value::Boolean(_) => value.parse().ok().map(Value::Boolean),
        _ => Some(Value::Text(value.clone())),
    };
    match given {
        Some(given) => param.value = given,
        None => {
            let message = format!(
                "params.{name} is {}; write one, as --set {name}={}",
                param.value.what(),
                param.value.shown()
            );
            out.mistake_of_option(&option, message);
        }
    }
}
