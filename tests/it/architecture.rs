//! The house rules that a compiler does not check: a room of `src/` uses lower rooms only, and keeps its crates.

use std::fs;
use std::path::{Path, PathBuf};

/// For each room what must not be named in it (besides comments).
const FORBIDDEN: [(&str, &[&str]); 7] = [
    (
        "error.rs",
        &["crate::kernel", "crate::text", "crate::model", "crate::predict", "crate::train", "crate::serve"],
    ),
    (
        "kernel",
        &[
            "candle",
            "serde",
            "axum",
            "tokio",
            "rayon",
            "crate::text",
            "crate::model",
            "crate::predict",
            "crate::train",
            "crate::serve",
        ],
    ),
    (
        "text",
        &[
            "candle",
            "axum",
            "tokio",
            "crate::kernel",
            "crate::model",
            "crate::predict",
            "crate::train",
            "crate::serve",
        ],
    ),
    ("model", &["axum", "tokio", "tower", "crate::predict", "crate::train", "crate::serve"]),
    ("predict.rs", &["candle", "axum", "tokio", "tower", "crate::train", "crate::serve"]),
    ("train", &["axum", "tokio", "tower", "hyper", "crate::serve"]),
    ("serve", &["candle", "crate::train", "crate::kernel"]),
];

fn files(under: &Path) -> Vec<PathBuf> {
    if under.is_file() {
        return vec![under.to_path_buf()];
    }
    let entries = fs::read_dir(under).unwrap_or_else(|e| panic!("{}: {e}", under.display()));
    entries
        .flat_map(|entry| files(&entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The lines of a file that are code, with their numbers; tests may use what they like.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default().to_string()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect()
}

#[test]
fn rooms_use_lower_rooms_only() {
    let mut faults = Vec::new();
    for (room, forbidden) in FORBIDDEN {
        for path in files(&source().join(room)) {
            for (number, line) in code(&path) {
                for name in forbidden.iter().filter(|name| line.contains(*name)) {
                    // The one error type wraps candle's; its name in an error is not a use of the crate.
                    if room == "error.rs" && *name == "candle" {
                        continue;
                    }
                    faults.push(format!("{}:{number}: {name}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "forbidden uses:\n{}", faults.join("\n"));
}

#[test]
fn unsafe_lives_in_the_kernel_room() {
    let kernel = source().join("kernel");
    let faults: Vec<String> = files(&source())
        .into_iter()
        .filter(|path| !path.starts_with(&kernel))
        .flat_map(|path| code(&path).into_iter().map(move |(number, line)| (path.clone(), number, line)))
        .filter(|(_, _, line)| line.contains("unsafe"))
        .map(|(path, number, _)| format!("{}:{number}", path.display()))
        .collect();
    assert!(faults.is_empty(), "unsafe outside src/kernel:\n{}", faults.join("\n"));
}

#[test]
fn binaries_are_thin() {
    for path in files(&source().join("bin")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 100, "{} has {lines} lines", path.display());
    }
}
