//! Files that are generated from the code are checked in and never stale.
//!
//! `UPDATE_GENERATED=1 cargo test --test it generated` writes them.

#![expect(clippy::disallowed_methods, reason = "a variable says that files are to be written")]

use std::collections::BTreeSet;
use std::path::Path;

/// Folders that hold generated files and nothing else.
const GENERATED_ONLY: [&str; 2] = ["schemas", "deploy/crds"];

#[test]
fn generated_files_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = kelos::api::schema::generated();
    files.push(kelos::validate::finding::reference());
    files.push(kelos::metrics::reference());
    files.extend(kelos::cli::reference::generated());
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    let mut stale = Vec::new();
    for (path, contents) in &files {
        let file = root.join(path);
        let current = std::fs::read_to_string(&file).unwrap_or_default();
        if current == *contents {
            continue;
        }
        if update {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, contents).unwrap();
        }
        stale.push(format!("{path}: {}", first_difference(&current, contents)));
    }
    let known: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    for folder in GENERATED_ONLY {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            if !known.contains(path.as_str()) {
                stale.push(format!("{path}: nothing generates it"));
            }
        }
    }
    assert!(stale.is_empty(), "stale files (UPDATE_GENERATED=1 writes them):\n{}", stale.join("\n"));
}

fn first_difference(current: &str, wanted: &str) -> String {
    let (mut old, mut new) = (current.lines(), wanted.lines());
    let mut line = 0;
    loop {
        line += 1;
        let pair = (old.next(), new.next());
        if pair.0 != pair.1 || pair == (None, None) {
            return format!(
                "line {line}\n  - {}\n  + {}",
                pair.0.unwrap_or("(end)"),
                pair.1.unwrap_or("(end)")
            );
        }
    }
}
