//! Tera templates of a config repository (`*.tera`), with delimiters that neither Go templates nor shells use:
//! `[= value =]`, `[% statement %]`, `[~ comment ~]`.
//!
//! A template sees one variable, `values`: the values of the repository's `kelos.yaml`. It reaches other templates by
//! `include`, `extends` and components, by their paths in the repository, and nothing else: no files, no environment, no
//! clock, no randomness. A variable or field that is not defined is an error, except in `is defined`, `default` and `?.`.
//! Nothing is escaped; the filter `json` writes a value so that YAML reads it as the same value:
//!
//! ```text
//! title: [= values.title | json =]
//! ```
//!
//! Output is bounded here. Time and memory are not: Tera counts no steps, so who renders templates of others does it in a
//! process that can be killed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use tera::{Context, Delimiters, ErrorKind, Kwargs, State, Tera, Value};

/// The most bytes that one template may give: more than any manifest file may have.
const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// Why a template cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TeraError {
    /// The template in which the fault is, which may be an included one.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl TeraError {
    fn at_start(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, message: message.into() }
    }
}

impl fmt::Display for TeraError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for TeraError {}

/// The templates of one tree, parsed together.
#[derive(Debug)]
pub struct Templates {
    tera: Tera,
    /// Why a template is not in `tera`.
    broken: BTreeMap<String, TeraError>,
}

impl Templates {
    /// Parses all templates, by path. One that is broken, or builds on one that is, does not harm the others.
    pub fn parse(sources: &BTreeMap<String, String>) -> Self {
        let mut broken = BTreeMap::new();
        let mut sound: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, source) in sources {
            // A syntax error shows in a template alone; what it names is looked up when all are there.
            match empty().add_raw_template(name, source) {
                Err(error) if matches!(error.kind(), ErrorKind::SyntaxError(_)) => {
                    broken.insert(name.clone(), describe(&error, name));
                }
                _ => {
                    sound.insert(name, source);
                }
            }
        }
        // Each turn takes out at least one template.
        loop {
            let mut tera = empty();
            let Err(error) = tera.add_raw_templates(sound.iter()) else { return Self { tera, broken } };
            let mut faults = reports(&error.to_string());
            faults.retain(|fault| sound.contains_key(fault.file.as_str()));
            if faults.is_empty() {
                let culprit = culprit(error.kind()).filter(|name| sound.contains_key(name));
                let Some(culprit) = culprit.or_else(|| sound.keys().next().copied()) else {
                    return Self { tera: empty(), broken };
                };
                let source = sound.get(culprit).copied().unwrap_or_default();
                faults.push(placed(describe(&error, culprit), error.kind(), source));
            }
            for mut fault in faults {
                sound.remove(fault.file.as_str());
                // "Unknown template" is misleading for one that is there and broken.
                if let Some(other) = broken.keys().find(|name| fault.message.contains(&format!("`{name}`"))) {
                    fault.message = format!("the template `{other}` has a fault itself");
                }
                broken.entry(fault.file.clone()).or_insert(fault);
            }
        }
    }

    /// Returns what is wrong with the templates themselves, whether they are rendered or not; at most one fault for each.
    pub fn faults(&self) -> impl Iterator<Item = &TeraError> {
        self.broken.values()
    }

    /// Renders the template `name` with the variable `values`.
    pub fn render(&self, name: &str, values: &serde_json::Value) -> Result<String, TeraError> {
        if let Some(error) = self.broken.get(name) {
            return Err(error.clone());
        }
        let mut context = Context::new();
        context.insert("values", values);
        let mut output = BoundedOutput { bytes: Vec::new(), exceeded: false };
        let result = self.tera.render_to(name, &context, &mut output);
        if output.exceeded {
            return Err(TeraError::at_start(
                name,
                format!("the output has more than {MAX_OUTPUT_BYTES} bytes"),
            ));
        }
        result.map_err(|error| describe(&error, name))?;
        String::from_utf8(output.bytes).map_err(|_| TeraError::at_start(name, "the output is not UTF-8"))
    }
}

/// Renders the template `name`, one of `sources` (by path), with the variable `values`.
///
/// For more than one template, [`Templates`] parses them once.
pub fn render(
    sources: &BTreeMap<String, String>,
    name: &str,
    values: &serde_json::Value,
) -> Result<String, TeraError> {
    Templates::parse(sources).render(name, values)
}

/// Returns an engine without templates.
fn empty() -> Tera {
    let mut tera = Tera::new();
    let delimiters = Delimiters {
        block_start: "[%".into(),
        block_end: "%]".into(),
        variable_start: "[=".into(),
        variable_end: "=]".into(),
        comment_start: "[~".into(),
        comment_end: "~]".into(),
    };
    tera.set_delimiters(delimiters).expect("because the delimiters are distinct and two bytes long");
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("json", json);
    tera
}

/// The filter `json`: the value as JSON on one line, which is YAML for the same value.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands values over to filters")]
fn json(value: Value, _: Kwargs, _: &State<'_>) -> Result<String, tera::Error> {
    // Line separators that only YAML 1.1 knows; JSON may carry them as they are.
    let text = serde_json::to_string(&value).map_err(|error| tera::Error::message(error.to_string()))?;
    Ok(text.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

/// Keeps output up to the limit and then fails, so that a loop without end stops at its first excess.
struct BoundedOutput {
    bytes: Vec<u8>,
    exceeded: bool,
}

impl Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_OUTPUT_BYTES {
            self.exceeded = true;
            return Err(io::Error::other("too much output"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn describe(error: &tera::Error, name: &str) -> TeraError {
    match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => TeraError {
            file: if report.filename().is_empty() { name.to_owned() } else { report.filename().to_owned() },
            line: report.span().start_line.max(1),
            column: report.span().start_col + 1,
            message: report.message().trim_end_matches('.').to_owned(),
        },
        ErrorKind::CircularInclude { include_chain, .. } => {
            TeraError::at_start(name, format!("templates include each other: {}", include_chain.join(" -> ")))
        }
        ErrorKind::CircularExtend { inheritance_chain, .. } => TeraError::at_start(
            name,
            format!("templates extend each other: {}", inheritance_chain.join(" -> ")),
        ),
        ErrorKind::MissingParent { parent, .. } => {
            TeraError::at_start(name, format!("there is no template `{parent}` to extend"))
        }
        ErrorKind::TemplateNotFound(name) => {
            TeraError::at_start(name, format!("there is no template `{name}`"))
        }
        other => TeraError::at_start(name, other.to_string()),
    }
}

/// Returns the template that a fault without a place is about.
fn culprit(kind: &ErrorKind) -> Option<&str> {
    match kind {
        ErrorKind::CircularInclude { tpl, .. } | ErrorKind::CircularExtend { tpl, .. } => Some(tpl),
        ErrorKind::MissingParent { current, .. } => Some(current),
        _ => None,
    }
}

/// Gives a fault without a place that of the name that it is about.
fn placed(fault: TeraError, kind: &ErrorKind, source: &str) -> TeraError {
    let named = match kind {
        ErrorKind::CircularInclude { include_chain: chain, .. }
        | ErrorKind::CircularExtend { inheritance_chain: chain, .. } => chain.get(1),
        ErrorKind::MissingParent { parent, .. } => Some(parent),
        _ => None,
    };
    let place = named.and_then(|name| source.split_once(&format!("\"{name}\"")));
    let Some((before, _)) = place else { return fault };
    let (line, last_line) =
        (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default());
    TeraError { line, column: last_line.chars().count() + 1, ..fault }
}

/// Reads the faults out of a report for people: the engine gives those about names that it does not find in no other form.
fn reports(text: &str) -> Vec<TeraError> {
    let mut faults = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let place = lines.peek().and_then(|next| next.trim_start().strip_prefix("--> "));
        if let (Some(message), Some(place)) = (line.strip_prefix("error: "), place) {
            let mut parts = place.rsplitn(3, ':');
            let column = parts.next().and_then(|column| column.parse().ok());
            let line = parts.next().and_then(|line| line.parse().ok());
            if let (Some(column), Some(line), Some(file)) = (column, line, parts.next()) {
                faults.push(TeraError { file: file.to_owned(), line, column, message: message.to_owned() });
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sources(templates: &[(&str, &str)]) -> BTreeMap<String, String> {
        templates.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect()
    }

    fn error(templates: &[(&str, &str)], name: &str) -> String {
        render(&sources(templates), name, &json!({"a": 1, "list": [1, 2]})).unwrap_err().to_string()
    }

    #[test]
    fn only_our_delimiters_count_and_nothing_is_escaped() {
        let source = "[~ about ~]\
            prompt: \"{{.Title}} [[ -f x ]] {% raw %} {# x #}\"\n\
            [%- for team in values.teams %]\nname: [= team.name =] <&> [= team.title | json =][% endfor %]\n";
        let values =
            json!({"teams": [{"name": "<a>", "title": "it's \"b\"\u{85}"}, {"name": "c", "title": true}]});
        for name in ["spawners.yaml.tera", "page.html", "page.xml"] {
            let found = render(&sources(&[(name, source)]), name, &values).unwrap();
            assert_eq!(
                found,
                "prompt: \"{{.Title}} [[ -f x ]] {% raw %} {# x #}\"\
                 \nname: <a> <&> \"it's \\\"b\\\"\\u0085\"\nname: c <&> true\n"
            );
        }
    }

    #[test]
    fn templates_include_each_other_by_path_and_reach_nothing_else() {
        let templates = [
            ("a/main.tera", "[% include \"a/part.tera\" %]!"),
            ("a/part.tera", "[= values.a =]"),
            ("base", "<[% block x %]-[% endblock %]>"),
            ("child", "[% extends \"base\" %][% block x %]c[% endblock %]"),
        ];
        let values = json!({"a": 1});
        assert_eq!(render(&sources(&templates), "a/main.tera", &values).as_deref(), Ok("1!"));
        assert_eq!(render(&sources(&templates), "child", &values).as_deref(), Ok("<c>"));
        for path in ["../../etc/passwd", "/etc/passwd", "Cargo.toml"] {
            let source = format!("x\n  [% include \"{path}\" %]");
            let found = error(&[("m", &source)], "m");
            assert!(found.starts_with("m:2:"), "{found}");
        }
        for source in ["[= get_env(name=\"HOME\") =]", "[= now() =]", "[= get_random(end=3) =]"] {
            assert!(error(&[("m", source)], "m").starts_with("m:1:"), "{source}");
        }
    }

    #[test]
    fn faults_have_file_line_and_column() {
        for (source, expected) in [
            ("ok\n  [= nope =]", "m:2:6: Variable `nope` is not defined. Available variables: values"),
            ("é é [= values.nope =]", "m:1:15: Field `nope` is not defined. Available fields: a, list"),
            ("[% if values.a %]", "m:1:18: Unexpected end of input"),
            ("a\n[= values.a | nope =]", "m:2:15: Unknown filter `nope`"),
            ("[= 1 / 0 =]", "m:1:8: Cannot divide by 0"),
        ] {
            let found = error(&[("m", source)], "m");
            assert_eq!(found, expected, "{source}");
        }
        assert_eq!(error(&[], "m"), "m:1:1: there is no template `m`");
        // In what is included, the included file is named.
        assert!(error(&[("m", "[% include \"n\" %]"), ("n", "\n [= nope =]")], "m").starts_with("n:2:5: "));
    }

    #[test]
    fn a_broken_template_does_not_harm_the_others() {
        let templates = sources(&[
            ("good", "[= values.a =]"),
            ("syntax", "[= =]"),
            ("filter", "[= values.a | nope =]"),
            ("uses-syntax", "\n[% include \"syntax\" %]"),
            ("missing", "[% include \"nowhere\" %]"),
            ("circle-1", "[% include \"circle-2\" %]"),
            ("circle-2", "[% include \"circle-1\" %]"),
            ("orphan", "\n[% extends \"nowhere\" %]"),
        ]);
        let parsed = Templates::parse(&templates);
        assert_eq!(parsed.render("good", &json!({"a": 1})).as_deref(), Ok("1"));
        let broken: Vec<&str> = parsed.faults().map(|fault| fault.file.as_str()).collect();
        assert_eq!(broken, ["circle-1", "circle-2", "filter", "missing", "orphan", "syntax", "uses-syntax"]);
        let places: Vec<usize> = parsed.faults().map(|fault| fault.line * 100 + fault.column).collect();
        assert_eq!(places, [112, 112, 115, 112, 212, 104, 212]);
        let uses = parsed.render("uses-syntax", &json!({})).unwrap_err();
        assert_eq!((uses.line, uses.message.as_str()), (2, "the template `syntax` has a fault itself"));
    }

    #[test]
    fn undefined_values_can_be_asked_for() {
        let source =
            "[% if values.x is defined %]y[% else %]n[% endif %] [= values.x | default(value=\"d\") =]";
        assert_eq!(render(&sources(&[("m", source)]), "m", &json!({})).as_deref(), Ok("n d"));
    }

    #[test]
    fn output_is_bounded() {
        let source = "[% for a in range(end=90000) %][% for b in range(end=90000) %]xxxxxxxxxxxxxxxx[% endfor %][% endfor %]";
        assert_eq!(error(&[("m", source)], "m"), "m:1:1: the output has more than 4194304 bytes");
    }
}
