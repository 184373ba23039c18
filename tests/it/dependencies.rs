//! What the program is linked from: licences that may be shipped, and no crate twice without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences under which code may be part of the binaries; `docker/` ships their texts.
const LICENCES: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unlicense",
    // A dedication to the public domain.
    "CC0-1.0",
    // The list of certificate authorities, which is data.
    "CDLA-Permissive-2.0",
];

/// Crates of which two versions are linked, and why it cannot be helped today.
const TWICE: [(&str, &str); 6] = [
    ("base64", "the tokenizers of candle want 0.13"),
    ("getrandom", "ring wants 0.2, rand 0.9 wants 0.3, newer crates 0.4"),
    ("hashbrown", "safetensors and indexmap"),
    ("pastey", "htmlize and utoipa-axum; a macro, gone when it is compiled"),
    ("rand_core", "rand 0.9 for the streams that must not change, and candle's rand"),
    ("syn", "macros, gone when they are compiled"),
];

/// Every package that the binaries are made of with all features, tests left aside.
fn linked() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes: BTreeMap<&str, &Value> =
        all["resolve"]["nodes"].as_array().unwrap().iter().map(|node| (id(&node["id"]), node)).collect();
    let (mut found, mut open) = (BTreeSet::new(), vec![id(&all["resolve"]["root"])]);
    while let Some(package) = open.pop() {
        if !found.insert(package) {
            continue;
        }
        for dependency in nodes[package]["deps"].as_array().unwrap() {
            let mut kinds = dependency["dep_kinds"].as_array().unwrap().iter();
            if kinds.any(|kind| kind["kind"] != "dev") {
                open.push(id(&dependency["pkg"]));
            }
        }
    }
    let packages = all["packages"].as_array().unwrap().iter();
    packages.filter(|package| found.contains(id(&package["id"]))).cloned().collect()
}

fn id(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Whether an SPDX expression can be met with [`LICENCES`]: of alternatives one, of parts joined by `AND` each.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    let part = |part: &str| {
        // An exception only gives more.
        let name = |name: &str| name.trim().split(" WITH ").next().unwrap_or_default().trim().to_string();
        part.split(" OR ").any(|licence| LICENCES.contains(&name(licence).as_str()))
    };
    expression.split(" AND ").all(part)
}

#[test]
fn every_licence_may_be_shipped() {
    assert!(allowed("(MIT OR GPL-3.0) AND Unicode-3.0") && allowed("Unlicense/MIT"));
    assert!(!allowed("GPL-3.0-only") && !allowed("MIT AND GPL-3.0"));
    let packages = linked();
    assert!(packages.len() > 50, "{}", packages.len());
    let others: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn no_crate_is_linked_twice_without_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked() {
        let text = |key: &str| package[key].as_str().unwrap().to_string();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let twice: BTreeSet<&str> =
        versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name.as_str()).collect();
    let reasons: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    let new: Vec<_> = twice.difference(&reasons).map(|name| (name, &versions[*name])).collect();
    assert!(new.is_empty(), "linked in several versions: {new:?}");
    // A reason that has gone is struck out.
    let gone: Vec<_> = reasons.difference(&twice).collect();
    assert!(gone.is_empty(), "no longer twice: {gone:?}");
}

/// Name and version of a package.
type Locked = (String, String);

/// The packages of a lock file, each with those that it uses.
fn locked(lock: &str) -> BTreeMap<Locked, BTreeSet<Locked>> {
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_string();
    let version = |name: &str| {
        let found = packages.iter().find(|package| package["name"].as_str() == Some(name));
        text(found.unwrap(), "version")
    };
    let used = |package: &toml::Value| -> BTreeSet<Locked> {
        let used = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        // The version stands there where a name alone would not tell.
        let named = used.map(|used| match used.as_str().unwrap().split_once(' ') {
            Some((name, version)) => (name.to_string(), version.to_string()),
            None => (used.as_str().unwrap().to_string(), version(used.as_str().unwrap())),
        });
        named.collect()
    };
    packages
        .iter()
        .map(|package| ((text(package, "name"), text(package, "version")), used(package)))
        .collect()
}

/// What the tests' build compiled of others' crates serves the fuzz targets, too, where it is the same: they are built in two
/// minutes then, not in fifteen.
#[test]
fn the_fuzz_targets_are_built_from_the_same_packages_in_the_same_way() {
    let ours = locked(include_str!("../../Cargo.lock"));
    let own = ["imdb-sentiment", "imdb-sentiment-fuzz", "libfuzzer-sys", "arbitrary"];
    let others: Vec<_> = locked(include_str!("../../fuzz/Cargo.lock"))
        .into_iter()
        .filter(|(package, used)| !own.contains(&package.0.as_str()) && ours.get(package) != Some(used))
        .map(|(package, used)| (ours.get(&package).cloned(), package, used))
        .collect();
    let release = |manifest: &str| {
        let manifest: toml::Table = manifest.parse().unwrap();
        let mut release = manifest["profile"]["release"].as_table().unwrap().clone();
        // What is said of single packages is said of those that are built for the fuzzer.
        release.remove("package");
        release
    };
    assert_eq!(
        release(include_str!("../../fuzz/Cargo.toml")),
        release(include_str!("../../Cargo.toml")),
        "[profile.release] of fuzz/Cargo.toml and of Cargo.toml"
    );
    assert!(others.is_empty(), "`cp Cargo.lock fuzz/; (cd fuzz; cargo metadata >/dev/null)`: {others:#?}");
}
