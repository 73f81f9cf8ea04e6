//! From what a folder holds to the page.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;

use super::chart::Chart;
use super::environment::environment;
use super::figures::{Figure, Headline, figures};
use super::folder::Folder;
use super::plots::Plots;
use super::tables::{self, Table};
use super::timeline::{Picture, Timeline};
use crate::measure::{Level, LogLine};
use crate::units::{brief_duration, grouped};

/// Most lines of the log on the page.
const LINES: usize = 40;

/// Everything on the page.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    name: String,
    about: String,
    /// Run, start, length and nodes, in a line.
    facts: Vec<String>,
    headline: Headline,
    figures: Vec<Figure>,
    verdict: Vec<Table>,
    timeline: Option<Picture>,
    sections: Vec<Section>,
    environment: Vec<(String, String)>,
    lines: Vec<Line>,
    more_lines: usize,
    missing: Vec<(String, String)>,
}

/// A part of the page.
#[derive(Clone, Debug, Serialize)]
struct Section {
    id: &'static str,
    title: &'static str,
    words: Option<String>,
    charts: Vec<Chart>,
    tables: Vec<Table>,
}

impl Section {
    fn new(
        id: &'static str,
        title: &'static str,
        charts: Vec<Chart>,
        tables: impl IntoIterator<Item = Option<Table>>,
    ) -> Self {
        Self {
            id,
            title,
            words: None,
            charts,
            tables: tables.into_iter().flatten().collect(),
        }
    }
}

/// A line of the log that wants attention.
#[derive(Clone, Debug, Serialize)]
struct Line {
    at: String,
    level: &'static str,
    text: String,
}

impl Report {
    pub(super) fn new(folder: &Folder) -> Self {
        let timeline = Timeline::new(folder);
        let (plan, summary) = (folder.plan.as_ref(), folder.summary.as_ref());
        let told = folder.verdict.as_ref();
        let asserts = told.and_then(tables::asserts);
        let wanting = |line: &&LogLine| line.level != Level::Info;
        let lines: Vec<&LogLine> = folder.events.iter().flatten().filter(wanting).collect();
        Self {
            name: name(folder),
            about: plan
                .map(|plan| plan.scenario.about.clone())
                .unwrap_or_default(),
            facts: facts(folder),
            headline: Headline::new(folder),
            figures: summary.map(figures).unwrap_or_default(),
            verdict: asserts.into_iter().collect(),
            timeline: timeline.picture(),
            sections: sections(folder, &Plots::new(folder, &timeline)),
            environment: folder
                .manifest
                .as_ref()
                .map(environment)
                .unwrap_or_default(),
            more_lines: lines.len().saturating_sub(LINES),
            lines: lines.into_iter().take(LINES).map(line).collect(),
            missing: folder.missing.clone(),
        }
    }
}

fn sections(folder: &Folder, plots: &Plots<'_>) -> Vec<Section> {
    let summary = folder.summary.as_ref();
    let enrolment = summary.and_then(|summary| summary.enrolment.as_ref());
    let limits = folder.verdict.as_ref().and_then(tables::limits);
    let phases = folder.plan.as_ref().and_then(tables::phases);
    let mut operations = plots.rates();
    operations.extend(plots.latencies());
    let mut generator = Section::new(
        "generator",
        "Was the generator the limit?",
        plots.generator(),
        [summary.map(tables::generator), limits],
    );
    let colocated = folder
        .manifest
        .as_ref()
        .is_some_and(|manifest| manifest.colocated);
    generator.words = colocated.then(|| {
        "Nodes, brokers and generator shared one machine: compare such figures with each other, \
         not with a network's."
            .to_owned()
    });
    let sections = [
        Section::new(
            "nodes",
            "Nodes",
            plots.nodes().into_iter().collect(),
            [phases],
        ),
        Section::new(
            "faults",
            "Faults and recovery",
            plots.storms(),
            [
                summary.and_then(tables::faults),
                summary.and_then(tables::storms),
            ],
        ),
        Section::new(
            "rounds",
            "Fan-outs",
            plots.rounds(),
            [summary.and_then(tables::rounds)],
        ),
        Section::new(
            "enrolment",
            "Enrolment",
            Vec::new(),
            [
                enrolment.and_then(tables::enrolment),
                enrolment.and_then(tables::outcomes),
            ],
        ),
        Section::new(
            "operations",
            "Rates and latencies",
            operations,
            [summary.and_then(tables::operations)],
        ),
        Section::new(
            "costs",
            "Brokers, memory and CPU",
            plots.brokers(),
            [summary.and_then(tables::costs)],
        ),
        generator,
    ];
    let filled = |section: &Section| !section.charts.is_empty() || !section.tables.is_empty();
    sections.into_iter().filter(filled).collect()
}

/// The name of the scenario, or else of the folder.
fn name(folder: &Folder) -> String {
    let manifest = folder
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.scenario.as_ref());
    let names = [
        manifest.map(|scenario| scenario.name.clone()),
        folder
            .summary
            .as_ref()
            .map(|summary| summary.scenario.clone()),
        folder.plan.as_ref().map(|plan| plan.scenario.name.clone()),
    ];
    let told = names.into_iter().flatten().find(|name| !name.is_empty());
    told.unwrap_or_else(|| folder.name.clone())
}

fn facts(folder: &Folder) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(manifest) = &folder.manifest {
        facts.push(format!("run {}", manifest.run));
        let started = manifest.started;
        facts.extend(started.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string()));
        let length = manifest.duration_us.map(std::time::Duration::from_micros);
        facts.extend(length.map(brief_duration));
        let state =
            (folder.verdict.is_none()).then(|| format!("its manifest says: {}", manifest.state));
        facts.extend(state);
    }
    if let Some(plan) = &folder.plan {
        facts.push(format!("{} nodes", grouped(plan.nodes)));
        facts.push(format!("formation {}", plan.formation));
    }
    facts
}

fn line(line: &LogLine) -> Line {
    Line {
        at: super::axis::Unit::Seconds.show(line.at_us as f64 / 1e6),
        level: match line.level {
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
        },
        text: line.text.chars().take(300).collect(),
    }
}

/// The page. Whatever a name or a message holds is shown, never obeyed.
///
/// # Errors
/// Never for the templates of this tool; the engine's signature has one.
pub(super) fn render(report: &Report) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.add_template("page.css", include_str!("page.css"))?;
    environment.add_template("drawing.html", include_str!("drawing.html"))?;
    environment.add_template("page.html", include_str!("page.html"))?;
    let report = Value::from(Serde(report));
    let page = environment
        .get_template("page.html")?
        .render(context! { report })?;
    // HTML has no way to write most control characters, not even escaped.
    let spoken = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    Ok(page.chars().map(spoken).collect())
}
