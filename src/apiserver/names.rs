//! What names, namespaces, labels and annotations may look like, in the words of apimachinery.

use std::sync::LazyLock;

use regex::Regex;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const CONFIG_KEY_FORMAT: &str = "[-._a-zA-Z0-9]+";

const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

fn whole(format: &str) -> Regex {
    Regex::new(&format!("^{format}$")).expect("because the formats are constants")
}

static LABEL: LazyLock<Regex> = LazyLock::new(|| whole(LABEL_FORMAT));
static SUBDOMAIN: LazyLock<Regex> = LazyLock::new(|| whole(SUBDOMAIN_FORMAT));
static QUALIFIED: LazyLock<Regex> = LazyLock::new(|| whole(QUALIFIED_FORMAT));
static LABEL_VALUE: LazyLock<Regex> = LazyLock::new(|| whole(LABEL_VALUE_FORMAT));
static CONFIG_KEY: LazyLock<Regex> = LazyLock::new(|| whole(CONFIG_KEY_FORMAT));

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn regex_message(message: &str, format: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    format!("{message} (e.g. {}, regex used for validation is '{format}')", examples.join(",  or "))
}

/// Returns what is wrong with an RFC 1123 label (the name of a Namespace).
pub(crate) fn dns_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > MAX_LABEL {
        errors.push(too_long(MAX_LABEL));
    }
    if !LABEL.is_match(value) {
        errors.push(if SUBDOMAIN.is_match(value) {
            "must not contain dots".to_owned()
        } else {
            regex_message(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FORMAT,
                &["my-name", "123-abc"],
            )
        });
    }
    errors
}

/// Returns what is wrong with an RFC 1123 subdomain (the name of most objects).
pub(crate) fn dns_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > MAX_SUBDOMAIN {
        errors.push(format!("must be no more than {MAX_SUBDOMAIN} characters"));
    }
    if !SUBDOMAIN.is_match(value) {
        errors.push(regex_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FORMAT,
            &["example.com"],
        ));
    }
    errors
}

/// Returns what is wrong with the key of a label, an annotation or a finalizer.
pub(crate) fn qualified(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(dns_subdomain(prefix).into_iter().map(|error| format!("prefix part {error}")));
            }
            *name
        }
        _ => {
            errors.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex_message(
                    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                    QUALIFIED_FORMAT,
                    &["MyName", "my.name", "123-abc"],
                )
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        errors.push(format!("name part {}", too_long(MAX_LABEL)));
    }
    if !QUALIFIED.is_match(name) {
        errors.push(format!(
            "name part {}",
            regex_message(
                "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_FORMAT,
                &["MyName", "my.name", "123-abc"],
            )
        ));
    }
    errors
}

/// Returns what is wrong with the value of a label.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > MAX_LABEL {
        errors.push(too_long(MAX_LABEL));
    }
    if !LABEL_VALUE.is_match(value) {
        errors.push(regex_message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            LABEL_VALUE_FORMAT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// Returns what is wrong with a key of a ConfigMap or Secret.
pub(crate) fn config_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > MAX_SUBDOMAIN {
        errors.push(format!("must be no more than {MAX_SUBDOMAIN} characters"));
    }
    if !CONFIG_KEY.is_match(value) {
        errors.push(regex_message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            CONFIG_KEY_FORMAT,
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if value == "." {
        errors.push("must not be '.'".to_owned());
    } else if value == ".." {
        errors.push("must not be '..'".to_owned());
    } else if value.starts_with("..") {
        errors.push("must not start with '..'".to_owned());
    }
    errors
}

/// Returns what is wrong with a name as a part of a URL path, which every name is.
pub(crate) fn path_segment(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ['/', '%']
        .into_iter()
        .filter(|illegal| value.contains(*illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_in_the_words_of_the_real_server() {
        assert!(dns_subdomain("a.b-c.1").is_empty());
        assert_eq!(
            dns_subdomain("Fix_It"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&"x".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
    }

    #[test]
    fn label_keys_may_carry_a_domain() {
        assert!(qualified("kelos.dev/task-name").is_empty());
        assert_eq!(qualified("/x"), ["prefix part must be non-empty"]);
        assert_eq!(qualified("a/b/c").len(), 1);
        assert!(qualified("kelos.dev/").contains(&"name part must be non-empty".to_owned()));
        assert!(label_value("").is_empty());
        assert!(!label_value("-x").is_empty());
    }

    #[test]
    fn config_keys_cannot_climb() {
        assert!(config_key("a.b_C-1").is_empty());
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert_eq!(config_key("..a"), ["must not start with '..'"]);
    }
}
