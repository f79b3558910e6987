//! Brings the parts of plugins to where an agent looks for them.
//!
//! Plugins lie in the agent's home, one folder each, in the layout of Claude Code: `skills/NAME/SKILL.md` and whatever
//! else belongs to the skill, `agents/NAME.md`. An agent that reads this layout is told the folders; for any other the
//! parts are copied. Skills may come from somebody else's repository: links in them are left out, and what is written
//! into the checkout does not follow links there.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::file;
use crate::runner::agents::{AgentProgram, Part, Place};
use crate::runner::environment::Layout;
use crate::runner::inside;

/// The largest file of a skill, in bytes.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
/// How deep the folders of a skill may lie in each other.
const DEEPEST: usize = 16;

/// Copies the parts of all plugins to where `agent` looks for them.
pub(super) fn place(agent: &dyn AgentProgram, layout: &Layout) -> io::Result<()> {
    for folder in &layout.plugins {
        let Some(plugin) = folder.file_name().and_then(OsStr::to_str) else { continue };
        put(agent.place(Part::Plugin { plugin }), layout, folder)?;
        for (skill, path) in entries(&folder.join("skills"))? {
            put(agent.place(Part::Skill { plugin, skill: &skill }), layout, &path)?;
        }
        for (file_name, path) in entries(&folder.join("agents"))? {
            if let Some(name) = file_name.strip_suffix(".md") {
                put(agent.place(Part::SubAgent { plugin, name }), layout, &path)?;
            }
        }
    }
    Ok(())
}

fn put(place: Option<Place>, layout: &Layout, part: &Path) -> io::Result<()> {
    match place {
        None => Ok(()),
        Some(Place::Made { path, content }) => write(&layout.home, &path, content.as_bytes()),
        Some(Place::Home(path)) => copy(part, &layout.home, &path, 0),
        Some(Place::Start(path)) => copy(part, &layout.start, &path, 0),
    }
}

fn copy(from: &Path, root: &Path, path: &str, depth: usize) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_dir() && depth < DEEPEST {
        for (name, entry) in entries(from)? {
            copy(&entry, root, &format!("{path}/{name}"), depth + 1)?;
        }
    } else if metadata.is_file() {
        write(root, path, &file::read_bounded(from, LARGEST_FILE)?)?;
        let is_program = metadata.permissions().mode() & 0o100 != 0;
        if is_program {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn write(root: &Path, path: &str, content: &[u8]) -> io::Result<()> {
    inside::write(root, path, content).map_err(io::Error::other)
}

// The entries of a folder in the order of their names; a folder that is not there has none. Names that are no text are
// left out.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::agents::by_kind;

    fn placed(kind: &str) -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        let plugin = root.join("home/.kelos/plugins/demo");
        for (path, mode) in [
            ("skills/review/SKILL.md", 0o644),
            ("skills/review/scripts/check.sh", 0o755),
            ("agents/critic.md", 0o644),
            ("agents/notes.txt", 0o644),
        ] {
            let path = plugin.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(root.join("outside"), "secret").unwrap();
        std::os::unix::fs::symlink(root.join("outside"), plugin.join("skills/review/link")).unwrap();
        fs::create_dir_all(root.join("work/repo")).unwrap();
        let layout = Layout {
            token: PathBuf::new(),
            home: root.join("home"),
            temporary: root.join("tmp"),
            work: root.join("work"),
            start: root.join("work/repo"),
            plugins: vec![plugin.clone()],
        };
        place(by_kind(kind), &layout).unwrap();
        let mut found = Vec::new();
        walk(&root, &plugin, &mut found);
        found.sort();
        found.retain(|path| path != "outside");
        (folder, found)
    }

    fn walk(folder: &Path, but: &Path, found: &mut Vec<String>) {
        for (_, path) in entries(folder).unwrap() {
            if path.is_dir() && path != but {
                walk(&path, but, found);
            } else if path.is_file() {
                let root = path.ancestors().find(|path| path.join("outside").exists()).unwrap();
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn each_agent_finds_skills_and_sub_agents_where_it_looks() {
        for (kind, expected) in [
            ("claude-code", vec![]),
            ("shell", vec![]),
            (
                "codex",
                vec![
                    "home/.codex/skills/demo-review/SKILL.md",
                    "home/.codex/skills/demo-review/scripts/check.sh",
                ],
            ),
            (
                "gemini",
                vec![
                    "home/.gemini/extensions/demo/agents/critic.md",
                    "home/.gemini/extensions/demo/gemini-extension.json",
                    "home/.gemini/extensions/demo/skills/review/SKILL.md",
                    "home/.gemini/extensions/demo/skills/review/scripts/check.sh",
                ],
            ),
            (
                "opencode",
                vec![
                    "home/.config/opencode/agents/critic.md",
                    "home/.config/opencode/skills/demo-review/SKILL.md",
                    "home/.config/opencode/skills/demo-review/scripts/check.sh",
                ],
            ),
            (
                "cursor",
                vec![
                    "work/repo/.cursor/rules/demo-critic.mdc",
                    "work/repo/.cursor/skills/demo-review/SKILL.md",
                    "work/repo/.cursor/skills/demo-review/scripts/check.sh",
                ],
            ),
        ] {
            assert_eq!(placed(kind).1, expected, "{kind}");
        }
        let (folder, _) = placed("codex");
        let script = folder.path().join("home/.codex/skills/demo-review/scripts/check.sh");
        assert_eq!(script.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn what_a_checkout_has_put_there_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("plugins/demo/skills/review")).unwrap();
        fs::write(root.join("plugins/demo/skills/review/SKILL.md"), "x").unwrap();
        fs::create_dir_all(root.join("repo")).unwrap();
        fs::create_dir_all(root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.join("elsewhere"), root.join("repo/.cursor")).unwrap();
        let layout = Layout {
            token: PathBuf::new(),
            home: root.join("home"),
            temporary: root.join("tmp"),
            work: root.join("work"),
            start: root.join("repo"),
            plugins: vec![root.join("plugins/demo")],
        };
        assert!(place(by_kind("cursor"), &layout).is_err());
        assert_eq!(fs::read_dir(root.join("elsewhere")).unwrap().count(), 0);
    }
}
