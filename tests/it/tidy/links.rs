//! Every link between the documents leads somewhere.

use crate::tidy::source::{files, root, text};

/// Folders and files with documents.
const PLACES: [&str; 6] = ["docs", "examples", "repo-template", "tests", "schemas", "deploy"];

#[test]
fn every_relative_link_is_alive() {
    let mut documents: Vec<String> = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    documents.extend(PLACES.iter().flat_map(|place| files(place, ".md")));
    let mut dead = Vec::new();
    let mut seen = 0;
    for document in &documents {
        for target in targets(&text(document)) {
            seen += 1;
            if !is_alive(document, &target) {
                dead.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(seen > 20, "the links are found");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// Returns the targets of links that stay in this repository.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        // What stands between backticks is no link.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        targets.extend(links.filter(|target| !target.contains("://")).map(str::to_owned));
    }
    targets
}

fn is_alive(document: &str, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let folder = root().join(document).parent().unwrap().to_path_buf();
    let file = if path.is_empty() { root().join(document) } else { folder.join(path) };
    let Some(anchor) = anchor else { return file.exists() };
    std::fs::read_to_string(file).is_ok_and(|text| {
        text.lines().filter(|line| line.starts_with('#')).any(|heading| slug(heading) == anchor)
    })
}

/// Returns the anchor that forges make from a heading.
fn slug(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || "-_ ".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}

#[test]
fn links_are_found_outside_of_code_and_anchors_are_those_of_forges() {
    let text = "[a](b.md) and `[c](d)` and [`e`](f.md#g)\n```\n[h](i)\n```\n[j](https://k)";
    assert_eq!(targets(text), ["b.md", "f.md#g"]);
    assert_eq!(slug("## What `kelos up` does, and why"), "what-kelos-up-does-and-why");
}
