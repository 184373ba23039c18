//! The house rules that a compiler does not check: a room of `src/` uses lower rooms only and keeps its crates, and no two
//! files use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that everything above them may use.
const GROUND: &[&str] = &["error", "kernel", "text", "model", "predict"];

/// The rooms of the house, lowest first: each with the rooms that its files may use besides their own. A file belongs to the
/// longest name that fits it.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("kernel", &[]),
    ("text", &["error", "kernel"]),
    ("model", &["error", "kernel", "text"]),
    ("predict", &["error", "text", "model"]),
    // The trainer.
    ("train::random", &[]),
    ("train::metrics", &[]),
    ("train::progress", &[]),
    ("train::settings", &["train::data::labelled"]),
    ("train::interrupt", &[]),
    ("train::data", &["train::random", "train::progress", "train::settings"]),
    ("train::score", &["train::data", "train::metrics"]),
    ("train::fit", &["train::random", "train::metrics", "train::progress", "train::settings", "train::data"]),
    ("train::ngrams", &["train::metrics", "train::data", "train::score"]),
    ("train::trained", &["train::metrics", "train::data::example", "train::score", "train::ngrams"]),
    ("train::calibration", &["train::metrics", "train::data", "train::score"]),
    ("train::stage", &["train::settings", "train::interrupt", "train::fit"]),
    (
        "train::pretrain",
        &[
            "train::random",
            "train::progress",
            "train::settings",
            "train::interrupt",
            "train::data",
            "train::score",
            "train::fit",
            "train::stage",
        ],
    ),
    ("train::report", &["train::metrics", "train::settings", "train::data", "train::fit", "train::ngrams"]),
    ("train::commands", &["train"]),
    // The service. Nothing below `serve::app` names the application's state.
    // Closed sets whose texts are written once.
    ("serve::named", &[]),
    ("serve::problem", &["serve::named"]),
    ("serve::forwarded", &[]),
    ("serve::settings", &["serve::forwarded"]),
    ("serve::observe", &["serve::named", "serve::problem", "serve::settings", "serve::http::trace"]),
    ("serve::budget", &["serve::named", "serve::problem", "serve::settings", "serve::observe"]),
    ("serve::memory", &["serve::settings", "serve::observe"]),
    (
        "serve::http",
        &["serve::named", "serve::problem", "serve::settings", "serve::observe", "serve::budget"],
    ),
    (
        "serve::models",
        &["serve::named", "serve::problem", "serve::settings", "serve::observe", "serve::memory"],
    ),
    (
        "serve::compute",
        &[
            "serve::named",
            "serve::problem",
            "serve::settings",
            "serve::observe",
            "serve::budget",
            "serve::models",
        ],
    ),
    (
        "serve::app",
        &[
            "serve::named",
            "serve::problem",
            "serve::settings",
            "serve::observe",
            "serve::budget",
            "serve::http",
            "serve::models",
            "serve::compute",
        ],
    ),
    (
        "serve::api",
        &[
            "serve::named",
            "serve::problem",
            "serve::settings",
            "serve::observe",
            "serve::budget",
            "serve::http",
            "serve::models",
            "serve::compute",
            "serve::app",
        ],
    ),
    // Router, middleware, connections and the run itself.
    ("serve", &["serve"]),
    ("bin", &[]),
];

/// Crates that are named in these rooms alone.
const CRATES: &[(&str, &[&str])] = &[
    ("candle_core", &["model::network", "train"]),
    ("candle_nn", &["model::network", "train"]),
    ("rand", &["model::network", "train"]),
    ("rayon", &["train"]),
    ("axum", &["serve"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("tokio", &["serve"]),
    ("tokio_rustls", &["serve"]),
    ("tower", &["serve"]),
    ("tower_http", &["serve"]),
    ("utoipa", &["serve"]),
    ("tracing", &["serve"]),
    ("serde", &["text", "model", "predict", "train", "serve"]),
    ("serde_json", &["text", "model", "predict", "train", "serve"]),
    ("safetensors", &["model", "train"]),
];

/// Files that use each other, and why they may.
const CIRCLES: &[&[&str]] = &[
    // A trait whose defaults call the formulas, which are written for the trait.
    &["kernel::simd", "kernel::simd::activation"],
];

/// One file of `src/`, its tests left out.
struct Source {
    path: PathBuf,
    /// `serve::api::health`; a `mod.rs` has the name of its folder, `lib.rs` none.
    module: String,
    code: String,
}

/// A path that code names: its segments, and whether it is published again from here.
struct Named {
    segments: Vec<String>,
    published: bool,
}

fn sources() -> Vec<Source> {
    fn visit(folder: &Path, module: &str, all: &mut Vec<Source>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            let inner = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
            if path.is_dir() {
                visit(&path, &inner, all);
            } else if path.extension().is_some_and(|e| e == "rs") && !name.ends_with("tests") {
                let module = if ["mod", "lib"].contains(&&*name) { module.to_string() } else { inner };
                let code = without_tests(&plain_code(&fs::read_to_string(&path).unwrap()));
                all.push(Source { path, module, code });
            }
        }
    }
    let mut all = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut all);
    all
}

/// `text` without comments and without what stands in quotes, its line breaks kept.
fn plain_code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let skip = |rest: &mut &str, end: usize, out: &mut String| {
        out.extend(rest[..end].chars().filter(|c| *c == '\n'));
        *rest = &rest[end..];
    };
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back().unwrap_or(' ');
        let in_a_word = before.is_alphanumeric() || before == '_';
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            skip(&mut rest, end, &mut out);
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |at| at + 2);
            skip(&mut rest, end, &mut out);
        } else if let Some(hashes) = raw_string(rest).filter(|_| !in_a_word) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = rest.find('"').unwrap() + 1;
            let end = rest[start..].find(&close).map_or(rest.len(), |at| start + at + close.len());
            skip(&mut rest, end, &mut out);
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].char_indices().find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            let end = end.map_or(rest.len(), |(at, _)| at + 2);
            out.push_str("\"\"");
            skip(&mut rest, end, &mut out);
        } else if let Some(end) = character(rest) {
            skip(&mut rest, end, &mut out);
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The number of `#` where a raw string begins.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a literal character; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    match inner.strip_prefix('\\') {
        Some(escape) => Some(2 + escape.char_indices().skip(1).find(|(_, c)| *c == '\'')?.0 + 1),
        None => {
            let first = inner.chars().next()?;
            inner[first.len_utf8()..].starts_with('\'').then(|| 2 + first.len_utf8())
        }
    }
}

/// `code` without the items that only tests have.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut depth = 0;
        let end = rest.char_indices().skip(12).find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (*c == ';' || *c == '}') && depth == 0
        });
        rest = &rest[end.map_or(rest.len(), |(at, _)| at + 1)..];
    }
    out + rest
}

/// Every path that begins in `code` with `crate`, `self` or `super`, or that a `use` names.
fn named(code: &str) -> Vec<Named> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("use ").filter(|(at, _)| begins_a_use(&code[..*at])) {
        let tree = code[at + 4..].split(';').next().unwrap_or_default();
        let before = code[..at].trim_end();
        // `pub(crate)` and `pub(super)` too.
        let published = before.ends_with("pub")
            || before.rfind("pub(").is_some_and(|at| before[at..].find(')') == Some(before.len() - at - 1));
        expand(&tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut Vec::new(), published, &mut all);
    }
    let plain = without_uses(code);
    for start in ["crate::", "self::", "super::"] {
        for (at, _) in plain.match_indices(start) {
            let before = plain[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let path: String =
                plain[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            let segments = path.split("::").filter(|s| !s.is_empty()).map(String::from).collect();
            all.push(Named { segments, published: false });
        }
    }
    all
}

/// `code` without its `use` statements.
fn without_uses(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.match_indices("use ").map(|(at, _)| at).find(|at| begins_a_use(&rest[..*at])) {
        out.push_str(&rest[..at]);
        rest = &rest[rest[at..].find(';').map_or(rest.len(), |end| at + end + 1)..];
    }
    out + rest
}

/// Whether a `use` behind `before` begins a statement.
fn begins_a_use(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty() || before.ends_with(['{', '}', ';', ']', ')']) || before.ends_with("pub")
}

/// The modules below `module` that its code names without a `use`, as in `child::name()`.
fn named_children(code: &str, children: &BTreeSet<&str>) -> Vec<Named> {
    let found = code.match_indices("::").filter_map(|(at, _)| {
        let before = &code[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let name = &before[start..];
        (children.contains(name) && !before[..start].ends_with(':')).then(|| name.to_string())
    });
    found.map(|name| Named { segments: vec!["self".into(), name], published: false }).collect()
}

/// The paths of the tree of a `use`.
fn expand(tree: &str, prefix: &mut Vec<String>, published: bool, all: &mut Vec<Named>) {
    let tree = tree.trim();
    match tree.find('{') {
        Some(open) => {
            let length = prefix.len();
            prefix
                .extend(tree[..open].split("::").map(str::trim).filter(|s| !s.is_empty()).map(String::from));
            let (mut depth, mut start) = (0, open + 1);
            for (at, c) in tree.char_indices().skip(open) {
                depth += i32::from(c == '{') - i32::from(c == '}');
                if c == ',' && depth == 1 || c == '}' && depth == 0 {
                    expand(&tree[start..at], prefix, published, all);
                    start = at + 1;
                }
            }
            prefix.truncate(length);
        }
        None if tree.is_empty() => {}
        None => {
            let path = tree.split(" as ").next().unwrap_or_default();
            let last = path.split("::").map(|s| s.trim().to_string()).filter(|s| s != "self");
            all.push(Named { segments: prefix.iter().cloned().chain(last).collect(), published });
        }
    }
}

/// Who uses whom, by file.
struct House {
    /// For each module what it names.
    named: BTreeMap<String, Vec<Named>>,
}

impl House {
    fn read() -> Self {
        let sources = sources();
        let modules: BTreeSet<&str> = sources.iter().map(|source| source.module.as_str()).collect();
        let of = |source: &Source| {
            let parent =
                |module: &str| module.rsplit_once("::").map_or(String::new(), |(p, _)| p.to_string());
            let children = modules.iter().filter(|m| !m.is_empty() && parent(m) == source.module);
            let children = children.map(|m| m.rsplit("::").next().unwrap_or(m)).collect();
            let mut all = named(&source.code);
            all.extend(named_children(&without_uses(&source.code), &children));
            all
        };
        Self { named: sources.iter().map(|source| (source.module.clone(), of(source))).collect() }
    }

    /// The module in which `segments`, named in `from`, are defined; `None` for another crate's.
    fn target(&self, from: &str, segments: &[String], depth: usize) -> Option<String> {
        let parent = |module: &str| module.rsplit_once("::").map_or("", |(parent, _)| parent).to_string();
        let mut rest = segments;
        let mut module = match rest.first()?.as_str() {
            "crate" => String::new(),
            "self" => from.to_string(),
            "super" => parent(from),
            first if self.named.contains_key(&join(from, first)) => {
                rest = segments;
                return self.descend(join(from, first), &rest[1..], depth);
            }
            _ => return None,
        };
        rest = &rest[1..];
        while rest.first().is_some_and(|s| s == "super") {
            module = parent(&module);
            rest = &rest[1..];
        }
        self.descend(module, rest, depth)
    }

    fn descend(&self, mut module: String, mut rest: &[String], depth: usize) -> Option<String> {
        while let Some(first) = rest.first().filter(|first| self.named.contains_key(&join(&module, first))) {
            module = join(&module, first);
            rest = &rest[1..];
        }
        // What a map publishes is defined elsewhere.
        let item = rest.first();
        let published = item.and_then(|item| {
            let mut all = self.named[&module].iter().filter(|named| named.published);
            all.find(|named| named.segments.last() == Some(item))
        });
        match published {
            Some(named) if depth < 10 => {
                let found = self.target(&module, &named.segments, depth + 1);
                found.or(Some(module))
            }
            _ => Some(module),
        }
    }

    /// For each file the files that it uses; what a map publishes is no use.
    fn uses(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut all = BTreeMap::new();
        for (module, named) in &self.named {
            let targets = named
                .iter()
                .filter(|named| !named.published)
                .filter_map(|named| self.target(module, &named.segments, 0))
                .filter(|target| target != module && !target.is_empty());
            all.insert(module.as_str(), targets.collect());
        }
        all
    }
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_string() } else { format!("{module}::{name}") }
}

/// Whether `module` lies in `room`.
fn lies_in(module: &str, room: &str) -> bool {
    module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn room_of(module: &str) -> &'static (&'static str, &'static [&'static str]) {
    let fitting = ROOMS.iter().filter(|(room, _)| lies_in(module, room));
    fitting
        .max_by_key(|(room, _)| room.len())
        .unwrap_or_else(|| panic!("{module} is in no room: add it to ROOMS"))
}

#[test]
fn rooms_use_lower_rooms_only() {
    let house = House::read();
    let mut faults = Vec::new();
    for (module, targets) in
        house.uses().into_iter().filter(|(module, _)| !module.is_empty() && *module != "train")
    {
        let (room, may_use) = room_of(module);
        let upper = ["train", "serve"].into_iter().find(|side| lies_in(room, side));
        for target in targets.iter().filter(|target| !lies_in(target, room)) {
            let below = upper.is_some() && GROUND.iter().any(|ground| lies_in(target, ground));
            if !below && !may_use.iter().any(|used| lies_in(target, used)) {
                faults.push(format!("{module} uses {target}"));
            }
        }
    }
    assert!(faults.is_empty(), "a room uses one that is not below it:\n{}", faults.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for Source { path, module, code } in sources() {
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect::<BTreeSet<_>>();
        for (name, rooms) in CRATES.iter().filter(|(name, _)| words.contains(name)) {
            if !rooms.iter().any(|room| lies_in(&module, room)) {
                faults.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "a crate leaves its rooms:\n{}", faults.join("\n"));
}

#[test]
fn no_two_files_use_each_other_even_by_way_of_others() {
    let house = House::read();
    let uses = house.uses();
    let reached = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_string()]);
        while let Some(module) = open.pop() {
            for target in uses.get(module.as_str()).into_iter().flatten() {
                if seen.insert(target.clone()) {
                    open.push(target.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<String>> =
        uses.keys().map(|module| (*module, reached(module))).collect();
    let circle = |module: &str| -> Vec<&str> {
        all[module].iter().filter(|other| all[other.as_str()].contains(module)).map(String::as_str).collect()
    };
    let circles: BTreeSet<Vec<&str>> =
        all.keys().map(|module| circle(module)).filter(|circle| !circle.is_empty()).collect();
    let faults: Vec<String> = circles
        .iter()
        .filter(|circle| !CIRCLES.contains(&circle.as_slice()))
        .map(|circle| circle.join(" <-> "))
        .collect();
    assert!(faults.is_empty(), "files that use each other:\n{}", faults.join("\n"));
}

#[test]
fn binaries_are_thin() {
    for source in sources().iter().filter(|source| lies_in(&source.module, "bin")) {
        let lines = fs::read_to_string(&source.path).unwrap().lines().count();
        assert!(lines < 100, "{} has {lines} lines", source.path.display());
    }
}

/// The test itself sees what it should: behind tests, in lists of names, through a map.
#[test]
fn uses_are_found_wherever_they_stand() {
    let code = plain_code(
        "use super::a::{self, b::{C, D as E}};\n// use crate::never;\n#[cfg(test)]\nmod tests;\npub(crate) use crate::x::Y;\n\
         fn f<'a>(s: &'a str) { let c = '\\''; \"use crate::no;\"; r#\"crate::no\"#; crate::late::g(); }\n\
         #[cfg(test)]\nmod more { use crate::tested; }\nuse super::end;",
    );
    let found: Vec<(String, bool)> = named(&without_tests(&code))
        .iter()
        .map(|named| (named.segments.join("::"), named.published))
        .collect();
    let expected =
        ["super::a", "super::a::b::C", "super::a::b::D", "crate::x::Y", "super::end", "crate::late::g"];
    assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(found.iter().filter(|(_, published)| *published).count(), 1);
}
