//! Dependencies point down only, and some crates stay out altogether.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::{Source, files, no_breaches, root};

/// Who may depend on whom, at every kind of dependency.
const ARROWS: [(&str, &[&str]); 4] = [
    ("server-core", &[]),
    ("provisioner", &["server-core"]),
    ("loadgen", &["server-core"]),
    ("benches", &["server-core", "provisioner", "loadgen"]),
];

/// Crates that bring a second provider for TLS and signatures. aws-lc-rs is the
/// one; openssl stays as a second judge and never speaks to the network.
const OTHER_PROVIDERS: [&str; 9] = [
    "ring",
    "native-tls",
    "tokio-native-tls",
    "tokio-openssl",
    "rustls-openssl",
    "boring",
    "mbedtls",
    "rustls-rustcrypto",
    "rustls-graviola",
];

/// Licences that go well with Apache-2.0. An expression passes when one side of
/// every `OR` is made of these.
const LICENCES: [&str; 13] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "Unlicense",
    "0BSD",
];

/// What the manifests say.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--locked".into()])
        .exec()
        .unwrap()
}

/// Name and licence of every package that is built on this kind of machine,
/// tests included.
///
/// `cargo tree` and not `cargo metadata`: the latter, like the lock file, lists
/// a package as soon as somebody's feature mentions it (`ring?/alloc`).
fn built_packages() -> BTreeSet<(String, String)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = Command::new(cargo)
        .current_dir(root())
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--edges=normal,build,dev",
        ])
        .args(["--prefix=none", "--no-dedupe", "--format={p}\t{l}"])
        .output()
        .unwrap();
    assert!(tree.status.success(), "cargo tree: {tree:?}");
    let packages: BTreeSet<_> = String::from_utf8(tree.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(package, licence)| {
            let name = package.split(' ').next().unwrap_or(package);
            (name.to_owned(), licence.to_owned())
        })
        .collect();
    assert!(packages.iter().any(|(name, _)| name == "aws-lc-rs"));
    packages
}

#[test]
fn members_depend_downward_only() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into();
    let members: BTreeSet<&str> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(
        members,
        allowed.keys().copied().collect(),
        "the table of arrows names every member"
    );

    let mut breaches = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            if members.contains(dependency.name.as_str())
                && !allowed[package.name.as_str()].contains(&dependency.name.as_str())
            {
                let kind = match dependency.kind {
                    DependencyKind::Normal => "",
                    DependencyKind::Development => " (for its tests)",
                    _ => " (for its build)",
                };
                breaches.push(format!("{} → {}{kind}", package.name, dependency.name));
            }
        }
    }
    no_breaches("arrows that must not exist:", &breaches);
}

#[test]
fn there_is_one_crypto_provider() {
    let breaches: Vec<String> = built_packages()
        .into_iter()
        .filter(|(name, _)| OTHER_PROVIDERS.contains(&name.as_str()))
        .map(|(name, _)| format!("{name} (see: cargo tree --workspace --invert {name})"))
        .collect();
    no_breaches("crypto providers beside aws-lc-rs:", &breaches);
}

#[test]
fn members_share_lints_and_versions() {
    let metadata = metadata();
    let mut breaches = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        for line in [
            "[lints]\nworkspace = true",
            "edition.workspace = true",
            "license.workspace = true",
        ] {
            if !manifest.contains(line) {
                breaches.push(format!("{}: lacks {line:?}", package.name));
            }
        }
        let own_version = |line: &&str| line.contains("version = \"") || line.contains("= \"");
        for line in manifest
            .lines()
            .skip_while(|line| *line != "[dependencies]")
            .filter(own_version)
            .filter(|line| !line.starts_with("name") && !line.starts_with("path"))
        {
            breaches.push(format!(
                "{}: `{line}` belongs into [workspace.dependencies]",
                package.name
            ));
        }
    }
    no_breaches("manifests that go their own way:", &breaches);
}

#[test]
fn members_use_what_they_declare() {
    let mut breaches = Vec::new();
    // The benchmarks see everything, whether they look at it yet or not.
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    for package in packages.iter().filter(|package| package.name != "benches") {
        let folder = package.manifest_path.parent().unwrap();
        let folder = folder.strip_prefix(root()).unwrap().as_str().to_owned() + "/";
        let sources = files(&[".rs"]);
        let own: Vec<&Source> = sources
            .iter()
            .filter(|source| source.path.starts_with(&folder))
            .collect();
        let products = |kind: DependencyKind| kind == DependencyKind::Normal;
        let declared = package.dependencies.iter();
        for dependency in declared.filter(|dependency| products(dependency.kind)) {
            // Two packages whose library has another name.
            let name = match dependency.name.as_str() {
                "md-5" => "md5".to_owned(),
                "rustls-webpki" => "webpki".to_owned(),
                name => name.replace('-', "_"),
            };
            let word = regex::Regex::new(&format!(r"\b{name}(::|;| as )")).unwrap();
            if !own.iter().any(|source| word.is_match(&source.text)) {
                breaches.push(format!("{}: {}", package.name, dependency.name));
            }
        }
    }
    no_breaches("dependencies that nothing uses:", &breaches);
}

#[test]
fn dependencies_have_licences_we_can_ship() {
    let breaches: Vec<String> = built_packages()
        .into_iter()
        .filter(|(_, licence)| !acceptable(licence))
        .map(|(name, licence)| format!("{name}: {licence:?}"))
        .collect();
    no_breaches("licences that are not on the list:", &breaches);
}

/// Whether an SPDX expression can be satisfied from [`LICENCES`]. The old `/`
/// means OR; brackets appear only around an OR.
fn acceptable(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ");
    plain.split(" AND ").all(|part| {
        part.trim_matches(['(', ')', ' '])
            .split(" OR ")
            .any(|licence| LICENCES.contains(&licence.trim_matches(['(', ')', ' '])))
    })
}

#[test]
fn licence_expressions_are_read_as_meant() {
    assert!(acceptable("MIT/Apache-2.0"));
    assert!(acceptable("(MIT OR GPL-3.0-only) AND Unicode-3.0"));
    assert!(!acceptable("GPL-3.0-only"));
    assert!(!acceptable("MIT AND GPL-3.0-only"));
}
