//! `kelos.yaml` at the root of a config repository: which files are read, and the values that templates see.

use serde::Deserialize;
use serde_json::Value;

use crate::yaml::Side;

/// The name of the file at the root.
pub const FILE_NAME: &str = "kelos.yaml";

/// What `kelos.yaml` says; without the file, everything is included.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Layout {
    /// Files and folders that are read, relative to the root. Empty means everything.
    pub include: Vec<String>,
    /// Files and folders that are not read, although they are included.
    pub exclude: Vec<String>,
    /// What templates see as `values`.
    pub values: Value,
}

impl Default for Layout {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new(), values: Value::Object(serde_json::Map::new()) }
    }
}

/// What is wrong with `kelos.yaml`, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayoutFault {
    /// JSON pointer into the document.
    pub(super) pointer: String,
    /// Whether the key or the value is to blame.
    pub(super) side: Side,
    /// What is wrong, in one sentence.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: &'static str,
}

impl Layout {
    /// Takes the layout from the document in `kelos.yaml`.
    pub(super) fn from_document(document: Value) -> Result<Self, LayoutFault> {
        const HOLDS: &str = "kelos.yaml may hold 'include', 'exclude' (lists of paths) and 'values'";
        let fault = |pointer: String, side: Side, message: String| LayoutFault {
            pointer,
            side,
            message,
            hint: HOLDS,
        };
        let Value::Object(fields) = &document else {
            return Err(fault(String::new(), Side::Value, "kelos.yaml has to be a mapping".to_owned()));
        };
        for (key, value) in fields {
            let message = match (key.as_str(), value) {
                ("values", Value::Object(_)) => continue,
                ("values", _) => "values has to be a mapping".to_owned(),
                ("include" | "exclude", Value::Array(paths)) if paths.iter().all(Value::is_string) => {
                    continue;
                }
                ("include" | "exclude", _) => format!("{key} has to be a list of paths"),
                _ => {
                    let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                    return Err(fault(pointer, Side::Key, format!("there is no field {key:?}")));
                }
            };
            return Err(fault(format!("/{key}"), Side::Value, message));
        }
        let layout: Self = serde_json::from_value(document)
            .map_err(|error| fault(String::new(), Side::Value, error.to_string()))?;
        for (list, paths) in [("include", &layout.include), ("exclude", &layout.exclude)] {
            for (index, path) in paths.iter().enumerate() {
                if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    let message =
                        format!("the path '{path}' leaves the repository; paths are relative to its root");
                    return Err(fault(format!("/{list}/{index}"), Side::Value, message));
                }
            }
        }
        Ok(layout)
    }

    /// Returns whether the file at `path` is read as a definition.
    ///
    /// Files and folders whose name begins with a dot belong to other programs, and other endings are prompts and prose.
    pub fn selects(&self, path: &str) -> bool {
        path != FILE_NAME
            && kind_of(path).is_some()
            && !path.split('/').any(|part| part.starts_with('.'))
            && (self.include.is_empty() || self.include.iter().any(|prefix| lies_in(path, prefix)))
            && !self.exclude.iter().any(|prefix| lies_in(path, prefix))
    }

    /// Returns the entries of `include` that select none of `paths`, with their places in the list.
    pub fn idle_includes<'a>(&'a self, paths: &[&str]) -> Vec<(usize, &'a str)> {
        let entries = self.include.iter().map(String::as_str).enumerate();
        entries.filter(|(_, prefix)| !paths.iter().any(|path| lies_in(path, prefix))).collect()
    }
}

/// How a definition file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// YAML documents.
    Yaml,
    /// A Tera template whose output is YAML documents.
    Template,
}

/// Returns how the file is read, by its ending; `None` for files that are no definitions.
pub fn kind_of(path: &str) -> Option<FileKind> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_yaml = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(stem, ending)| !stem.is_empty() && matches!(ending, "yaml" | "yml"))
    };
    match name.strip_suffix(".tera") {
        Some(stem) => is_yaml(stem).then_some(FileKind::Template),
        None => is_yaml(name).then_some(FileKind::Yaml),
    }
}

/// Returns whether the file may be included by templates.
pub fn is_template_source(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(stem, ending)| !stem.is_empty() && ending == "tera")
}

fn lies_in(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_start_matches("./").trim_end_matches('/');
    prefix.is_empty()
        || prefix == "."
        || path == prefix
        || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_are_chosen_by_ending_and_place() {
        let everything = Layout::default();
        for path in ["a.yaml", "spawners/b.yml", "spawners/c.yaml.tera"] {
            assert!(everything.selects(path), "{path}");
        }
        for path in [
            "kelos.yaml",
            "README.md",
            "package.json",
            ".github/workflows/ci.yaml",
            "prompts/fix.md",
            ".yaml",
            "x.tera",
        ] {
            assert!(!everything.selects(path), "{path}");
        }
        let some = Layout::from_document(
            json!({"include": ["spawners/", "./one.yaml"], "exclude": ["spawners/old"]}),
        );
        let some = some.unwrap();
        assert!(some.selects("spawners/a.yaml") && some.selects("one.yaml"));
        assert!(!some.selects("spawners/old/a.yaml") && !some.selects("spawners-2/a.yaml"));
        assert_eq!(some.idle_includes(&["spawners/a.yaml"]), [(1, "./one.yaml")]);
    }

    #[test]
    fn a_layout_stays_inside() {
        for (wrong, place) in [
            (json!({"include": ["a", "../x"]}), "/include/1"),
            (json!({"exclude": ["/etc"]}), "/exclude/0"),
            (json!({"include": [1]}), "/include"),
            (json!({"values": 1}), "/values"),
            (json!({"x": 1}), "/x"),
            (json!([]), ""),
        ] {
            let fault = Layout::from_document(wrong.clone()).unwrap_err();
            assert_eq!(fault.pointer, place, "{wrong}");
        }
    }
}
