//! `kelos.yaml` at the root of a config repository: which files are read, and the values that templates see.

use serde::Deserialize;
use serde_json::Value;

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

impl Layout {
    /// Takes the layout from the document in `kelos.yaml`.
    ///
    /// # Errors
    /// Says what is wrong in one sentence.
    pub fn from_document(document: Value) -> Result<Self, String> {
        let layout: Self = serde_json::from_value(document).map_err(|error| error.to_string())?;
        if !layout.values.is_object() {
            return Err("values has to be a mapping".to_owned());
        }
        for path in layout.include.iter().chain(&layout.exclude) {
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(format!(
                    "the path '{path}' leaves the repository; paths are relative to its root"
                ));
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

    /// Returns the entries of `include` that select none of `paths`.
    pub fn idle_includes<'a>(&'a self, paths: &[&str]) -> Vec<&'a str> {
        self.include
            .iter()
            .map(String::as_str)
            .filter(|prefix| !paths.iter().any(|path| lies_in(path, prefix)))
            .collect()
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
        for path in
            ["kelos.yaml", "README.md", ".github/workflows/ci.yaml", "prompts/fix.md", ".yaml", "x.tera"]
        {
            assert!(!everything.selects(path), "{path}");
        }
        let some = Layout::from_document(
            json!({"include": ["spawners/", "./one.yaml"], "exclude": ["spawners/old"]}),
        );
        let some = some.unwrap();
        assert!(some.selects("spawners/a.yaml") && some.selects("one.yaml"));
        assert!(!some.selects("spawners/old/a.yaml") && !some.selects("spawners-2/a.yaml"));
        assert_eq!(some.idle_includes(&["spawners/a.yaml"]), ["./one.yaml"]);
    }

    #[test]
    fn a_layout_stays_inside() {
        for wrong in [
            json!({"include": ["../x"]}),
            json!({"exclude": ["/etc"]}),
            json!({"values": 1}),
            json!({"x": 1}),
        ] {
            assert!(Layout::from_document(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
