//! Versions of the programs of agents.
//!
//! A program that came as a package of Node says its version in a file beside it, which costs nothing to read; any other
//! is asked with `--version`.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::file;

/// The largest `package.json` that is read, in bytes.
const LARGEST_PACKAGE: u64 = 256 * 1024;

/// A version of three numbers, the most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Returns the first version in `text`: three numbers with dots between them.
pub fn first_in(text: &str) -> Option<Version> {
    text.split(|character: char| !character.is_ascii_digit() && character != '.').find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        match (numbers.next()?, numbers.next()?, numbers.next()?) {
            (Ok(major), Ok(minor), Ok(patch)) => Some(Version(major, minor, patch)),
            _ => None,
        }
    })
}

/// Returns the version of the package of Node that `program` belongs to, if it belongs to one.
pub fn of_package(program: &Path) -> Option<Version> {
    let program = program.canonicalize().ok()?;
    let is_in_packages = |folder: &&Path| folder.components().any(|part| part.as_os_str() == "node_modules");
    let mut packages =
        program.ancestors().skip(1).take_while(is_in_packages).map(|folder| folder.join("package.json"));
    let text = packages.find_map(|path| file::read_bounded(&path, LARGEST_PACKAGE).ok())?;
    first_in(serde_json::from_slice::<Value>(&text).ok()?["version"].as_str()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (text, version) in [
            ("2.1.332 (Claude Code)", Some(Version(2, 1, 332))),
            ("codex-cli 0.171.0", Some(Version(0, 171, 0))),
            ("warning: 3 things\nv1.18.33-beta.1", Some(Version(1, 18, 33))),
            ("2026.04.17-479fd04", Some(Version(2026, 4, 17))),
            ("1.2", None),
            ("99999999999.0.0", None),
            ("", None),
        ] {
            assert_eq!(first_in(text), version, "{text}");
        }
    }

    #[test]
    fn a_package_says_its_version_and_what_lies_around_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("node_modules/@vendor/agent/bin/agent.js");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        fs::write(&program, "").unwrap();
        fs::write(folder.path().join("package.json"), r#"{"version": "9.9.9"}"#).unwrap();
        let link = folder.path().join("bin/agent");
        std::os::unix::fs::symlink(&program, &link).unwrap();
        assert_eq!(of_package(&link), None);
        let package = folder.path().join("node_modules/@vendor/agent/package.json");
        fs::write(package, r#"{"version": "0.61.0"}"#).unwrap();
        assert_eq!(of_package(&link), Some(Version(0, 61, 0)));
        assert_eq!(of_package(Path::new("/bin/sh")), None);
    }
}
