//! The real programs of agents on this machine. `tests/agents/install.sh` installs them.

#![expect(clippy::disallowed_methods, reason = "the tests read here where the programs are")]

use std::path::{Path, PathBuf};

/// One program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The agent type.
    pub(crate) kind: &'static str,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its version.
    pub(crate) version: String,
}

/// Returns the program of an agent type, or says on standard error how to have it.
///
/// With `KELOS_REQUIRE_AGENTS=1` its absence is a failure.
pub(crate) fn program(kind: &'static str) -> Option<Program> {
    let (name, package) = match kind {
        "claude-code" => ("claude", "@anthropic-ai/claude-code"),
        "codex" => ("codex", "@openai/codex"),
        "gemini" => ("gemini", "@google/gemini-cli"),
        "opencode" => ("opencode", "opencode-linux-x64"),
        other => panic!("there is no program of {other}"),
    };
    let programs = cache().map(|cache| cache.join("programs"));
    let found = programs.filter(|programs| programs.join("bin").join(name).exists());
    if found.is_none() {
        let hint = "install it with tests/agents/install.sh (needs Node.js and the npm registry)";
        let required = std::env::var("KELOS_REQUIRE_AGENTS").is_ok_and(|value| value == "1");
        assert!(!required, "the program of {kind} is not there; {hint}");
        crate::support::say(&format!("SKIPPED: the program of {kind} is not there; {hint}"));
    }
    let programs = found?;
    let version = installed(&programs.join("node_modules").join(package));
    Some(Program { kind, path: programs.join("bin").join(name), version })
}

/// Returns the version that an installed package says it is.
fn installed(package: &Path) -> String {
    let text = std::fs::read(package.join("package.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&text).unwrap()["version"].as_str().unwrap().to_owned()
}

/// Tells whether what the programs print is to be recorded, and where.
pub(crate) fn recording(program: &Program) -> Option<PathBuf> {
    std::env::var_os("UPDATE_TRANSCRIPTS")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/agents");
    Some(folder.join(format!("{}-{}", program.kind, program.version)))
}

fn cache() -> Option<PathBuf> {
    if let Some(cache) = std::env::var_os("KELOS_AGENTS") {
        return Some(PathBuf::from(cache));
    }
    Some(Path::new(&std::env::var_os("HOME")?).join(".cache/kelos-agents"))
}
