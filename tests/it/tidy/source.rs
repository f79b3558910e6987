//! The project's own files as text, for the tests that read them: no comments, no test code, paths spelled out.

use std::path::{Path, PathBuf};

/// A file of the library, without comments and tests.
pub(crate) struct Source {
    /// Path from `src`, with forward slashes.
    pub(crate) path: String,
    /// The code that is left.
    pub(crate) code: String,
}

/// Returns the root of the package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all files below `folder` of the package whose name ends in `ending`, in order, as paths from its root.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Returns the text of a file of the package.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the library's files; those that hold tests alone are left out.
pub(crate) fn library() -> Vec<Source> {
    let is_test =
        |path: &str| path.split('/').any(|part| ["tests", "tests.rs", "testing.rs"].contains(&part));
    let sources = files("src", ".rs").into_iter().filter(|path| !is_test(path));
    let sources: Vec<Source> = sources
        .map(|path| Source {
            code: production_code(&text(&path)),
            path: path.trim_start_matches("src/").to_owned(),
        })
        .collect();
    assert!(sources.len() > 100, "the library's files are found");
    sources
}

/// Takes comments and everything under `#[cfg(test)]` out; lines stay lines.
fn production_code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // Up to the end of the item: of its own line, or of the block at the margin.
            for line in lines.by_ref() {
                if line == "}" || (!line.starts_with([' ', '#']) && line.ends_with([';', '}'])) {
                    break;
                }
            }
            continue;
        }
        let is_comment = line.trim_start().starts_with("//");
        code.push_str(if is_comment { "" } else { line.split(" // ").next().unwrap_or(line) });
        code.push('\n');
    }
    code
}

/// Returns every path in `code` that begins with `first`, groups spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`.
pub(crate) fn paths(code: &str, first: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let start = format!("{first}::");
    for (at, _) in code.match_indices(&start) {
        let (before, from) = code.split_at(at);
        let is_inside = before.ends_with(|last: char| last.is_alphanumeric() || "_:".contains(last));
        if !is_inside {
            expand(&mut from.chars().peekable(), &[], &mut found);
        }
    }
    found
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn expand(rest: &mut Characters<'_>, before: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        while rest.next_if(|next| next.is_whitespace()).is_some() {}
        if rest.next_if_eq(&'{').is_some() {
            while rest.peek().is_some_and(|next| *next != '}') {
                expand(rest, &path, found);
                while rest.next_if(|next| next.is_whitespace() || *next == ',').is_some() {}
            }
            rest.next();
            return;
        }
        let mut name = String::new();
        while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
            name.push(next);
        }
        if !name.is_empty() {
            path.push(name);
        } else if rest.next_if(|next| *next != '}').is_none() {
            return;
        }
        if rest.next_if_eq(&':').is_none() {
            break;
        }
        rest.next_if_eq(&':');
    }
    // `a as b`
    while rest.next_if(|next| next.is_alphanumeric() || *next == '_' || *next == ' ').is_some() {}
    found.push(path);
}

#[test]
fn groups_are_spelled_out_and_comments_and_tests_are_skipped() {
    let code = production_code(
        "use crate::{a, b::{c, d as e}, f::{self}};\n// crate::no\nlet x = crate::g::h(1);\n#[cfg(test)]\nmod tests;\n\
         #[cfg(test)]\nmod tests {\n    use crate::no;\n}\nuse a::crate::no;\n",
    );
    let paths: Vec<String> = paths(&code, "crate").iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::a", "crate::b::c", "crate::b::d", "crate::f::self", "crate::g::h"]);
}
