use std::collections::BTreeSet;

use super::*;

/// Calls `act` with the path of every schema below `schema`.
fn visit(path: &str, schema: &Value, act: &mut dyn FnMut(&str, &Value)) {
    act(path, schema);
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        visit(&format!("{path}.{name}"), child, act);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            visit(&format!("{path}[]"), &schema[part], act);
        }
    }
}

fn root(kind: Kind) -> Value {
    crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn crds_are_structural_and_declare_no_list_types() {
    let allowed: BTreeSet<&str> = [
        "type",
        "description",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "enum",
        "default",
        "format",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "pattern",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ]
    .into();
    for kind in Kind::ALL {
        visit("", &root(*kind), &mut |path, schema| {
            let node = schema.as_object().unwrap();
            let odd: Vec<&String> = node.keys().filter(|key| !allowed.contains(key.as_str())).collect();
            assert!(odd.is_empty(), "{kind}{path}: {odd:?}");
            assert!(node["type"].is_string(), "{kind}{path}: {schema}");
            assert!(
                !(node.contains_key("properties") && node.contains_key("additionalProperties")),
                "{kind}{path}"
            );
            assert_ne!(node.get("additionalProperties"), Some(&Value::Bool(false)), "{kind}{path}");
            // Kubernetes knows these formats for numbers; others make it warn.
            if let Some(format) = node.get("format").and_then(Value::as_str) {
                assert!(["int32", "int64", "date-time"].contains(&format), "{kind}{path}: {format}");
            }
        });
    }
}

#[test]
fn every_field_says_what_it_means() {
    for kind in Kind::ALL {
        for part in ["spec", "status"] {
            let schema = &root(*kind)["properties"][part];
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                assert!(
                    field["description"].as_str().is_some_and(|text| text.len() > 8),
                    "{kind} {part}.{name}"
                );
            }
        }
    }
}

#[test]
fn only_meant_defaults_reach_the_server() {
    let mut defaults = Vec::new();
    for kind in [Kind::Task, Kind::Workspace, Kind::AgentConfig, Kind::TaskSpawner] {
        visit("", &root(kind), &mut |path, schema| {
            if let Some(default) = schema.get("default") {
                defaults.push(format!("{path} {default}"));
            }
        });
    }
    // Upstream's defaults of v1alpha1, and no other.
    assert_eq!(
        defaults,
        [
            ".spec.pollInterval \"5m\"",
            ".spec.suspend false",
            ".spec.taskTemplate.contextSources[].failurePolicy \"Fail\"",
            ".spec.taskTemplate.contextSources[].http.maxResponseBytes 32768",
            ".spec.taskTemplate.contextSources[].http.method \"GET\"",
            ".spec.taskTemplate.contextSources[].http.timeoutSeconds 10",
            ".spec.when.githubIssues.state \"open\"",
            ".spec.when.githubIssues.types [\"issues\"]",
            ".spec.when.githubPullRequests.reviewState \"any\"",
            ".spec.when.githubPullRequests.state \"open\"",
        ]
    );
}

#[test]
fn every_rule_is_in_its_crd() {
    let mut written = 0;
    for kind in Kind::ALL {
        visit("", &root(*kind), &mut |_, schema| {
            written += schema["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
        });
    }
    assert_eq!(written, RULES.len());
}

#[test]
fn json_schemas_refuse_unknown_fields_everywhere_but_in_pod_parts() {
    for (file, schema) in json_schemas() {
        let mut open = Vec::new();
        let mut nodes = vec![("#".to_owned(), &schema)];
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            nodes.push((name.clone(), definition));
        }
        for (name, node) in nodes {
            visit(&name, node, &mut |path, schema| {
                if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
                    open.push(path.to_owned());
                }
            });
        }
        let meant = |path: &String| path.starts_with("PodOverrides.") || path == "Spec.values";
        assert!(open.iter().all(meant), "{file}: {open:?}");
    }
}

#[test]
fn names_of_kinds_agree_with_the_definitions() {
    for kind in Kind::ALL {
        let definition = crd(*kind);
        assert_eq!(definition["spec"]["group"], kind.group());
        assert_eq!(definition["spec"]["names"]["plural"], kind.plural());
        assert_eq!(definition["spec"]["names"]["kind"], kind.as_str());
        assert_eq!(definition["metadata"]["name"], format!("{}.{}", kind.plural(), kind.group()));
    }
}
