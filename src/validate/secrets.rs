//! Which Secrets an object names, and whether it may.

use serde_json::Value;

use crate::validate::finding::FindingCode;
use crate::validate::suggestion::did_you_mean;
use crate::validate::{AllowedSecrets, Context, Report, pointer};
use crate::yaml::Side;

/// Maps whose keys are the author's own words, so that a key in them means nothing.
const FREE_MAPS: [&str; 7] =
    ["annotations", "env", "fieldMapping", "headers", "labels", "matchLabels", "nodeSelector"];

/// Most levels that are looked into. The YAML reader allows no more.
const MAX_DEPTH: usize = 128;

/// Reports Secrets that may not be named.
pub(super) fn check(report: &mut Report<'_>, context: &Context) {
    let AllowedSecrets::Named(allowed) = &context.allowed_secrets else { return };
    let Some(spec) = report.get("/spec") else { return };
    for (at, name) in secrets(spec) {
        if allowed.contains(name) {
            continue;
        }
        let message = format!("the Secret {name:?} may not be used by this repository");
        let finding = report.add(FindingCode::SecretNotAllowed, at, Side::Value, message);
        let known = did_you_mean(name, allowed.iter().map(String::as_str));
        finding.hint(
            known.unwrap_or_else(|| "add it to spec.allowedSecrets of the ConfigRepository".to_owned()),
        );
    }
}

/// Returns pointer and name of every Secret that a spec names, wherever Kelos or Kubernetes has such a field.
pub(super) fn secrets(spec: &Value) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let mut open = vec![("/spec".to_owned(), spec, 0_usize)];
    while let Some((at, value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            continue;
        }
        match value {
            Value::Object(object) => {
                for (key, child) in object {
                    let here = pointer::join(&at, key);
                    found.extend(named(key, &here, child));
                    if child.is_array() || !FREE_MAPS.contains(&key.as_str()) {
                        open.push((here, child, depth + 1));
                    }
                }
            }
            Value::Array(items) => {
                for (index, child) in items.iter().enumerate() {
                    open.push((pointer::item(&at, index), child, depth + 1));
                }
            }
            _ => {}
        }
    }
    found.sort_unstable();
    found
}

/// Returns the Secrets that a field names itself.
fn named<'a>(key: &str, at: &str, value: &'a Value) -> Vec<(String, &'a str)> {
    let field =
        |name: &str| value.get(name).and_then(Value::as_str).map(|text| (pointer::join(at, name), text));
    match (key, value) {
        ("secretName", Value::String(name)) => vec![(at.to_owned(), name.as_str())],
        ("imagePullSecrets", Value::Array(items)) => {
            let name = |(index, item): (usize, &'a Value)| {
                let text = item.get("name")?.as_str()?;
                Some((pointer::join(&pointer::item(at, index), "name"), text))
            };
            items.iter().enumerate().filter_map(name).collect()
        }
        // `secretName` of a volume is found by its own key.
        ("secret", Value::Object(_)) => field("name").into_iter().collect(),
        (_, Value::Object(_)) if is_reference(key) => field("name").into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `secretRef`, `secretKeyRef`, `nodePublishSecretRef` and whatever else Kubernetes calls so.
fn is_reference(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("secretref") || key.ends_with("secretkeyref")
}
