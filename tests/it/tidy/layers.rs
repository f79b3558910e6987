//! Which module may name which: data goes round in one direction, and a circle between modules cannot arise.

use std::collections::BTreeSet;

use crate::tidy::source::{library, paths};

/// Modules with one subject each, which name nothing of ours; everybody may name them.
const LEAVES: [&str; 8] = ["clock", "digest", "file", "metrics", "pack", "process", "secret", "yaml"];

/// What every other module may name beside the leaves. `a::b` allows `b` of `a` alone.
const MAY_NAME: [(&str, &[&str]); 15] = [
    ("api", &[]),
    ("forge", &[]),
    ("lang", &[]),
    ("git", &[]),
    ("store", &[]),
    ("domain", &["api", "lang"]),
    ("validate", &["domain", "api", "lang"]),
    ("apiserver", &["store"]),
    ("runner", &["git::program", "git::remote", "git::reference", "git::error", "api"]),
    ("executor", &["domain", "api"]),
    ("gitops", &["git", "validate", "domain", "api", "lang"]),
    ("ledger", &["git", "domain", "api", "lang"]),
    ("controllers", &["gitops", "ledger", "executor", "forge", "git", "validate", "domain", "api", "lang"]),
    (
        "daemon",
        &[
            "api",
            "apiserver",
            "controllers",
            "domain",
            "executor",
            "git",
            "gitops",
            "lang",
            "ledger",
            "runner",
            "store",
            "validate",
        ],
    ),
    (
        "cli",
        &["api", "daemon", "domain", "executor", "git", "gitops", "lang", "ledger", "runner", "validate"],
    ),
];

/// Modules that decide: the same question has the same answer, whatever the machine.
const PURE: [&str; 4] = ["api", "domain", "lang", "validate"];

/// What has no place in a module that decides.
const EFFECTS: [&str; 8] = [
    "tokio::",
    "tracing::",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "Timestamp::now",
    "SystemTime::now",
];

#[test]
fn modules_name_only_what_lies_below_them() {
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for source in library() {
        let module = module_of(&source.path);
        if ["lib", "main"].contains(&module) {
            continue;
        }
        seen.insert(module.to_owned());
        let allowed = MAY_NAME.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        assert!(allowed.is_some() || LEAVES.contains(&module), "{module} stands in no table");
        for path in paths(&source.code, "crate") {
            let Some(target) = path.get(1).map(String::as_str) else { continue };
            let part = path.get(2).map(|part| format!("{target}::{part}")).unwrap_or_default();
            let is_allowed = target == module
                || allowed.is_some_and(|allowed| {
                    LEAVES.contains(&target) || allowed.iter().any(|name| *name == target || *name == part)
                });
            if !is_allowed {
                wrong.insert(format!("src/{} names {}", source.path, path.join("::")));
            }
        }
    }
    let known = MAY_NAME.iter().map(|(name, _)| *name).chain(LEAVES);
    let gone: Vec<&str> = known.filter(|name| !seen.contains(*name)).collect();
    assert!(gone.is_empty(), "modules of the table that do not exist: {gone:?}");
    assert!(wrong.is_empty(), "{}", Vec::from_iter(wrong).join("\n"));
}

#[test]
fn deciding_modules_have_no_effects() {
    let mut wrong = Vec::new();
    for source in library().iter().filter(|source| PURE.contains(&module_of(&source.path))) {
        for effect in EFFECTS.iter().filter(|effect| source.code.contains(*effect)) {
            wrong.push(format!("src/{} names {effect}", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}
