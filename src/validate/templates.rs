//! Go templates: whether they can be read, and whether they name what there is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::task_spawner::source::SourceKind;
use crate::domain::variables::{
    self, CONTEXT, DEPENDENCIES, DEPENDENCY_FIELDS, Script, Shape, Standing, VARIABLES,
};
use crate::lang::gotemplate::{Reference, Template};
use crate::validate::finding::{Finding, FindingCode};
use crate::validate::suggestion::did_you_mean;
use crate::validate::{Report, pointer, values};
use crate::yaml::Side;

const SHELL: &str = "shell";

/// Checks the templates of an object.
pub(super) fn check(report: &mut Report<'_>, kind: Kind) {
    match kind {
        Kind::Task => task(report),
        Kind::TaskSpawner => spawner(report),
        Kind::Workspace | Kind::AgentConfig | Kind::ConfigRepository | Kind::RunRecord => {}
    }
}

/// The prompt of a Task is a template over the results of its dependencies, and over nothing else.
fn task(report: &mut Report<'_>) {
    let at = "/spec/prompt";
    let Some(prompt) = report.text(at).filter(|text| may_have_actions(text)) else { return };
    let dependencies = report.get("/spec/dependsOn").and_then(Value::as_array);
    let dependencies: Vec<&str> = dependencies.into_iter().flatten().filter_map(Value::as_str).collect();
    let template = Template::parse(prompt);
    let names_dependencies = |reference: &&Reference| first(reference) == DEPENDENCIES;
    if report.text("/spec/type") == Some(SHELL) {
        let references = template.map(|template| template.references()).unwrap_or_default();
        if let Some(reference) = references.iter().find(names_dependencies) {
            let message = "the results of other Tasks may not be filled into a script";
            let finding = report.add(FindingCode::ShellTemplate, at, Side::Value, message);
            finding
                .at_line(reference.line)
                .hint("read them from the file that $KELOS_ITEM_FILE names, under Deps");
        }
        return;
    }
    if dependencies.is_empty() {
        let references = template.map(|template| template.references()).unwrap_or_default();
        let meant = |reference: &&Reference| {
            names_dependencies(reference) || variables::find(first(reference)).is_some()
        };
        if let Some(reference) = references.iter().find(meant) {
            let message = format!(
                "the prompt is not rendered, so the agent reads {{{{.{}}}}}",
                reference.path.join(".")
            );
            let finding = report.add(FindingCode::TemplateNotRendered, at, Side::Value, message);
            finding.at_line(reference.line).hint("prompts of Tasks are rendered when dependsOn is set");
        }
        return;
    }
    let template = match template {
        Ok(template) => template,
        Err(error) => {
            syntax(report, at, error.line, &error.message);
            return;
        }
    };
    for reference in once(template.references()) {
        dependency(report, at, &dependencies, &reference);
    }
}

fn dependency(report: &mut Report<'_>, at: &str, dependencies: &[&str], reference: &Reference) {
    let [root, rest @ ..] = reference.path.as_slice() else { return };
    if root != DEPENDENCIES {
        let message = format!("the prompt of a Task has no variable .{root}");
        let finding = report.add(FindingCode::UnknownVariable, at, Side::Value, message);
        finding
            .at_line(reference.line)
            .hint("it has .Deps alone, as in {{index .Deps \"build\" \"Results\" \"branch\"}}");
        return;
    }
    let Some((name, fields)) = rest.split_first() else { return };
    if !dependencies.contains(&name.as_str()) {
        let message = format!("the prompt uses results of {name:?}, which is not in dependsOn");
        let finding =
            report.add(FindingCode::UnknownDependency, at, Side::Value, message).at_line(reference.line);
        finding.hint(
            did_you_mean(name, dependencies.iter().copied())
                .unwrap_or_else(|| format!("add {name} to dependsOn")),
        );
    } else if let Some(field) = fields.first().filter(|field| !DEPENDENCY_FIELDS.contains(&field.as_str())) {
        let message = format!("a dependency has no field {field:?}");
        let finding =
            report.add(FindingCode::UnknownVariable, at, Side::Value, message).at_line(reference.line);
        let known = format!("it has {}", DEPENDENCY_FIELDS.join(", "));
        finding.hint(did_you_mean(field, DEPENDENCY_FIELDS).unwrap_or(known));
    }
}

/// What the templates of a spawner may name.
struct Names {
    source: SourceKind,
    /// Variables that `fieldMapping` of a generic webhook adds.
    mapped: BTreeSet<String>,
    /// Names of the context sources.
    context: BTreeSet<String>,
}

fn spawner(report: &mut Report<'_>) {
    let names = values::source(report).map(|source| Names {
        source,
        mapped: match report.get("/spec/when/webhook/fieldMapping") {
            Some(Value::Object(mapping)) if source == SourceKind::GenericWebhook => {
                mapping.keys().cloned().collect()
            }
            _ => BTreeSet::new(),
        },
        context: context_sources(report)
            .filter_map(|(_, source)| Some(source["name"].as_str()?.to_owned()))
            .collect(),
    });
    let prompt = "/spec/taskTemplate/promptTemplate";
    if report.text("/spec/taskTemplate/type") == Some(SHELL) {
        script(report, prompt, names.as_ref());
    } else {
        template(report, prompt, names.as_ref(), true);
    }
    template(report, "/spec/taskTemplate/branch", names.as_ref(), true);
    for map in ["/spec/taskTemplate/metadata/labels", "/spec/taskTemplate/metadata/annotations"] {
        each_value(report, map, names.as_ref(), true);
    }
    let sources: Vec<String> = context_sources(report).map(|(at, _)| at).collect();
    for at in sources {
        template(report, &format!("{at}/http/url"), names.as_ref(), false);
        template(report, &format!("{at}/http/body"), names.as_ref(), false);
        each_value(report, &format!("{at}/http/headers"), names.as_ref(), false);
    }
}

fn context_sources<'a>(report: &Report<'a>) -> impl Iterator<Item = (String, &'a Value)> + use<'a> {
    let at = "/spec/taskTemplate/contextSources";
    let list = report.get(at).and_then(Value::as_array).into_iter().flatten();
    list.enumerate().map(move |(index, source)| (pointer::item(at, index), source))
}

fn each_value(report: &mut Report<'_>, map: &str, names: Option<&Names>, with_context: bool) {
    let Some(Value::Object(entries)) = report.get(map) else { return };
    for key in entries.keys() {
        template(report, &pointer::join(map, key), names, with_context);
    }
}

fn template(report: &mut Report<'_>, at: &str, names: Option<&Names>, with_context: bool) {
    let Some(text) = report.text(at).filter(|text| may_have_actions(text)) else { return };
    match Template::parse(text) {
        Err(error) => syntax(report, at, error.line, &error.message),
        Ok(template) => {
            let Some(names) = names else { return };
            for reference in once(template.references()) {
                variable(report, at, names, with_context, &reference);
            }
        }
    }
}

/// A script is literal; only numbers, ids and times may be filled in.
fn script(report: &mut Report<'_>, at: &str, names: Option<&Names>) {
    let (Some(text), Some(names)) = (report.text(at).filter(|text| may_have_actions(text)), names) else {
        return;
    };
    // What is no template is a script.
    let Ok(template) = Template::parse(text) else { return };
    match variables::script(names.source, names.mapped.iter().map(String::as_str), &template) {
        Script::Literal => {}
        Script::Rendered => {
            for reference in once(template.references()) {
                variable(report, at, names, true, &reference);
            }
        }
        Script::Refused(references) => {
            for reference in once(references) {
                let message =
                    format!("{{{{.{}}}}} may not be filled into a script", reference.path.join("."));
                let finding =
                    report.add(FindingCode::ShellTemplate, at, Side::Value, message).at_line(reference.line);
                finding.hint(
                    "read it from a KELOS_ITEM_ variable, or from the file that $KELOS_ITEM_FILE names",
                );
            }
        }
    }
}

fn variable(report: &mut Report<'_>, at: &str, names: &Names, with_context: bool, reference: &Reference) {
    let [root, rest @ ..] = reference.path.as_slice() else { return };
    if names.mapped.contains(root) {
        return;
    }
    if root == CONTEXT {
        context_variable(report, at, names, with_context, reference);
        return;
    }
    let source = names.source;
    let unmapped = source == SourceKind::GenericWebhook
        && variables::MAPPED_ALIASES.iter().any(|(key, name)| name == root && !names.mapped.contains(*key));
    match variables::standing(source, root) {
        Standing::Unknown => unknown_variable(report, at, names, reference),
        Standing::AlwaysEmpty => {
            empty_variable(report, at, reference, source);
        }
        Standing::Filled if unmapped => {
            empty_variable(report, at, reference, source).hint("add its key to fieldMapping");
        }
        Standing::Filled => {
            let has_fields = variables::find(root).is_some_and(|variable| variable.shape == Shape::Json);
            if !rest.is_empty() && !has_fields {
                let message = format!(".{root} has no field {:?}", rest.join("."));
                report.add(FindingCode::UnknownVariable, at, Side::Value, message).at_line(reference.line);
            }
        }
    }
}

fn unknown_variable(report: &mut Report<'_>, at: &str, names: &Names, reference: &Reference) {
    let root = first(reference);
    let message = format!("there is no variable .{root}");
    let finding = report.add(FindingCode::UnknownVariable, at, Side::Value, message).at_line(reference.line);
    let known: Vec<&str> = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .chain(names.mapped.iter().map(String::as_str))
        .collect();
    if let Some(hint) = did_you_mean(root, known) {
        finding.hint(hint);
    } else if root == DEPENDENCIES {
        finding
            .hint("results of dependencies are known only to prompts of Tasks that are written out in git");
    } else {
        let filled = VARIABLES.iter().filter(|variable| variable.sources.contains(&names.source));
        let filled: Vec<&str> = filled.map(|variable| variable.name).collect();
        finding.hint(format!("{} has {}", names.source, filled.join(", ")));
    }
}

fn empty_variable<'a>(
    report: &'a mut Report<'_>,
    at: &str,
    reference: &Reference,
    source: SourceKind,
) -> &'a mut Finding {
    let message = format!(".{} is always empty for {source}", first(reference));
    report.add(FindingCode::EmptyVariable, at, Side::Value, message).at_line(reference.line)
}

fn context_variable(
    report: &mut Report<'_>,
    at: &str,
    names: &Names,
    with_context: bool,
    reference: &Reference,
) {
    if !with_context {
        let message = "context sources cannot use each other's values";
        report.add(FindingCode::UnknownVariable, at, Side::Value, message).at_line(reference.line);
        return;
    }
    let Some(name) = reference.path.get(1).filter(|name| !names.context.contains(*name)) else { return };
    let message = format!("there is no context source {name:?}");
    let finding = report.add(FindingCode::UnknownVariable, at, Side::Value, message).at_line(reference.line);
    let hint = did_you_mean(name, names.context.iter().map(String::as_str));
    finding.hint(hint.unwrap_or_else(|| "add it to taskTemplate.contextSources".to_owned()));
}

fn syntax(report: &mut Report<'_>, at: &str, line: usize, message: &str) {
    let message = format!("the template cannot be read: {message}");
    report.add(FindingCode::TemplateSyntax, at, Side::Value, message).at_line(line);
}

/// Parsing costs as much as all other checks of an object together, and most texts are plain.
fn may_have_actions(text: &str) -> bool {
    text.contains("{{")
}

fn first(reference: &Reference) -> &str {
    reference.path.first().map_or("", String::as_str)
}

/// Returns every path once, where it is mentioned first.
fn once(mut references: Vec<Reference>) -> Vec<Reference> {
    let mut seen = BTreeSet::new();
    references.retain(|reference| seen.insert(reference.path.clone()));
    references
}

impl Finding {
    fn at_line(&mut self, line: usize) -> &mut Self {
        self.line = Some(line);
        self
    }
}
