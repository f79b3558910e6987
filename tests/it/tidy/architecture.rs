//! `docs/architecture.md` tells the truth about the code, as far as a program can see.

use std::collections::BTreeSet;

use crate::tidy::source::{files, root, text};

const PAGE: &str = "docs/architecture.md";

#[test]
fn every_test_that_the_page_names_exists() {
    let sources: Vec<String> = files("src", ".rs").into_iter().chain(files("tests", ".rs")).collect();
    let mut tests = BTreeSet::new();
    for source in &sources {
        let text = text(source);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if ["#[test]", "#[tokio::test"].iter().any(|mark| line.trim_start().starts_with(mark)) {
                let function = lines.find_map(|line| line.split_once("fn ")).map(|(_, rest)| rest);
                tests.extend(function.and_then(|rest| rest.split('(').next()).map(str::to_owned));
            }
        }
    }
    let named = code_spans().into_iter().filter(|span| is_name_of_a_test(span));
    let (known, gone): (Vec<String>, Vec<String>) = named.partition(|name| tests.contains(name));
    assert!(known.len() > 40, "the names are found: {known:?}");
    assert!(gone.is_empty(), "{PAGE} names tests that do not exist: {gone:?}");
}

#[test]
fn every_module_and_path_that_the_page_names_exists() {
    let page = text(PAGE);
    let modules = std::fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned());
    let untold: Vec<String> = modules
        .filter(|module| !["lib", "main"].contains(&module.as_str()))
        .filter(|module| {
            !page.lines().any(|line| line.starts_with("### ") && line.contains(&format!("`{module}`")))
        })
        .collect();
    assert!(untold.is_empty(), "the code map leaves out {untold:?}");
    let paths =
        code_spans().into_iter().filter(|span| span.starts_with("src/") || span.starts_with("tests/"));
    let gone: Vec<String> = paths.filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "{PAGE} names paths that do not exist: {gone:?}");
}

fn code_spans() -> Vec<String> {
    let page = text(PAGE);
    let spans = page.split('`').skip(1).step_by(2).map(str::to_owned);
    spans.filter(|span| !span.is_empty() && !span.contains('\n')).collect()
}

/// Tests are named by sentences.
fn is_name_of_a_test(span: &str) -> bool {
    span.matches('_').count() >= 3
        && span.chars().all(|character| character.is_ascii_lowercase() || character == '_')
}
