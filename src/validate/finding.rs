//! Findings: what is wrong in a config repository, where, and what to do about it.

use std::fmt::Write as _;

use crate::api::closed_set::closed_set;
use crate::api::schema::DO_NOT_EDIT;
use crate::yaml::{FaultCode, Side};

closed_set! {
    /// Whether a finding keeps a revision from being applied.
    pub enum Severity {
        /// The revision is not applied.
        Error = "error",
        /// The revision is applied.
        Warning = "warning",
    }
}

closed_set! {
    /// Stable code of a finding. Codes of faults in YAML text itself are those of `yaml`.
    pub enum FindingCode {
        /// The document is not a mapping. Every document holds one object.
        NotAnObject = "not-an-object",
        /// `apiVersion` or `kind` is missing. Every object names both.
        MissingKind = "missing-kind",
        /// Nobody knows the kind. Check its spelling.
        UnknownKind = "unknown-kind",
        /// The kind exists but has no place in a config repository, which may hold Task, TaskSpawner, Workspace and AgentConfig.
        KindNotAllowed = "kind-not-allowed",
        /// The kind is not served in this version. Use `v1alpha1`.
        UnsupportedVersion = "unsupported-version",
        /// A List of objects. Separate the objects by `---` instead.
        ListNotAllowed = "list-not-allowed",

        /// The object has no name.
        MissingName = "missing-name",
        /// `generateName` gives a new object at every apply, and so a new run. Give the object a name.
        GenerateName = "generate-name",
        /// The name is not one that Kubernetes allows.
        InvalidName = "invalid-name",
        /// The name, or a name that is made from it, is too long.
        NameTooLong = "name-too-long",
        /// The object names another namespace. A ConfigRepository applies to its own; leave the field out.
        ForeignNamespace = "foreign-namespace",
        /// A key or value of a label or annotation is not one that Kubernetes allows.
        InvalidLabel = "invalid-label",
        /// A label or annotation that Kelos writes itself. Remove it.
        ReservedKey = "reserved-key",
        /// A field that only the server writes, such as `status` or `metadata.uid`. Remove it.
        ServerField = "server-field",
        /// Two objects of the same kind have the same name.
        DuplicateObject = "duplicate-object",

        /// The kind has no such field.
        UnknownField = "unknown-field",
        /// A required field is missing.
        MissingField = "missing-field",
        /// A field has a value of the wrong type, or none.
        WrongType = "wrong-type",
        /// A field that allows certain words has another.
        UnknownValue = "unknown-value",
        /// A number, text or list is smaller or larger than allowed.
        OutOfRange = "out-of-range",
        /// A text does not have the form that its field asks for.
        MalformedValue = "malformed-value",
        /// Fields that do not go together. These are the rules that the API server checks too.
        RuleBroken = "rule-broken",
        /// A duration cannot be read, or is zero.
        InvalidDuration = "invalid-duration",
        /// A regular expression cannot be read.
        InvalidPattern = "invalid-pattern",
        /// A branch is not one that git allows.
        InvalidBranch = "invalid-branch",
        /// A part of `podOverrides` is not what a Pod has there.
        InvalidPodPart = "invalid-pod-part",

        /// A TaskSpawner has no source under `when`.
        NoSource = "no-source",
        /// A TaskSpawner has several sources under `when`. Make one spawner for each.
        SeveralSources = "several-sources",
        /// A filter is for an event that the source does not listen to, so it never matches.
        UnheardEvent = "unheard-event",
        /// A cron expression cannot be read.
        InvalidCron = "invalid-cron",
        /// A cron expression that can be read and names no day that exists.
        NeverFires = "never-fires",
        /// A time zone that is not in the IANA database.
        UnknownTimeZone = "unknown-time-zone",

        /// A referenced object is neither in the repository nor in the namespace.
        MissingReference = "missing-reference",
        /// A Secret that `spec.allowedSecrets` of the ConfigRepository does not list.
        SecretNotAllowed = "secret-not-allowed",
        /// Tasks that wait for each other, so that none ever starts.
        DependencyCycle = "dependency-cycle",

        /// A Go template cannot be read.
        TemplateSyntax = "template-syntax",
        /// A template uses a variable that no source, or not this part of a template, has.
        UnknownVariable = "unknown-variable",
        /// A template uses a variable that is always empty for the source of this spawner.
        EmptyVariable = "empty-variable",
        /// A prompt uses results of a Task that is not in `dependsOn`.
        UnknownDependency = "unknown-dependency",
        /// A prompt looks like a template and is not rendered, because the Task has no `dependsOn`.
        TemplateNotRendered = "template-not-rendered",
        /// The script of a `shell` agent has text of others filled in. Items and results reach a script as environment
        /// variables and files; only numbers, ids and times may be filled in.
        ShellTemplate = "shell-template",

        /// The file `kelos.yaml` cannot be used.
        InvalidRepositoryFile = "invalid-repository-file",
        /// A `*.tera` file cannot be rendered.
        RenderFailed = "render-failed",
        /// A `$file` that does not exist, leaves the repository, is too large, or is not text.
        InvalidFileReference = "invalid-file-reference",
        /// A file, or the whole repository, is larger than allowed.
        RepositoryTooLarge = "repository-too-large",
        /// A link or other entry that is not a plain file where definitions are read.
        NotAPlainFile = "not-a-plain-file",
        /// The API server refused the object.
        RefusedByServer = "refused-by-server",
    }
}

impl FindingCode {
    /// Returns whether such a finding keeps a revision from being applied.
    pub const fn severity(self) -> Severity {
        match self {
            Self::EmptyVariable | Self::TemplateNotRendered | Self::UnheardEvent => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// One thing that is wrong, and where in the tree of values it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable code.
    pub code: FindingCode,
    /// Whether it keeps the revision from being applied.
    pub severity: Severity,
    /// File, from the root of the repository.
    pub file: String,
    /// Which of the documents of the file that are not empty, from 0.
    pub document: usize,
    /// JSON pointer to the value. Of a missing field it is the pointer that the field would have.
    pub pointer: String,
    /// Whether the key or the value is to blame.
    pub side: Side,
    /// Line inside the text at the pointer, from 1, where the text is a template.
    pub line: Option<usize>,
    /// What is wrong: one line, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Returns path and contents of the page that lists all findings.
pub fn reference() -> (String, String) {
    let mut page = format!("<!-- {DO_NOT_EDIT} -->\n\n# Findings\n\n");
    page.push_str(
        "`kelos validate`, `kelos diff` and the status of a ConfigRepository name what is wrong by these codes. An error \
         keeps the whole revision from being applied, and the last good one runs on; a warning does not.\n\n\
         | code | severity | meaning |\n| --- | --- | --- |\n",
    );
    for code in FindingCode::ALL {
        let _infallible = writeln!(page, "| `{code}` | {} | {} |", code.severity(), code.meaning());
    }
    page.push_str(
        "\n## Faults of the YAML text\n\n\
         A file whose text is at fault is not read any further. All of these are errors.\n\n\
         | code | meaning |\n| --- | --- |\n",
    );
    for code in FaultCode::ALL {
        let _infallible = writeln!(page, "| `{}` | {} |", code.as_str(), code.meaning());
    }
    ("docs/reference/findings.md".to_owned(), page)
}
