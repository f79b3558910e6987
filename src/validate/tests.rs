use serde_json::json;

use super::*;
use crate::yaml;

/// Checks documents that are separated by `---` and compares `file-less` lines `DOCUMENT POINTER code: message (hint)`.
fn check_text(text: &str, context: &Context, expected: &[&str]) {
    let documents = yaml::parse(text, &yaml::Limits::default()).unwrap();
    let manifests: Vec<Manifest<'_>> = documents
        .iter()
        .enumerate()
        .map(|(document, parsed)| Manifest { file: "all.yaml", document, value: &parsed.value })
        .collect();
    let mut found = check(&manifests, context);
    found.sort_by_key(|finding| finding.document);
    let found: Vec<String> = found.iter().map(line).collect();
    assert_eq!(found, expected, "{text}");
}

fn line(finding: &Finding) -> String {
    let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{} {} {}: {}{hint}", finding.document, finding.pointer, finding.code, finding.message)
}

fn named(secrets: &[&str]) -> Context {
    let secrets = secrets.iter().map(|name| (*name).to_owned()).collect();
    Context {
        namespace: Some("prod".to_owned()),
        allowed_secrets: AllowedSecrets::Named(secrets),
        live: BTreeSet::new(),
    }
}

const TASK: &str = "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata: {name: t}\n";
const SPAWNER: &str = "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata: {name: s}\n";

#[test]
fn a_sound_repository_has_no_findings() {
    let text = "
apiVersion: kelos.dev/v1alpha1
kind: Workspace
metadata: {name: w, namespace: prod, labels: {team: core}}
spec: {repo: https://github.com/a/b, secretRef: {name: token}, files: [{path: .claude/skills/x.md, content: x}]}
---
apiVersion: kelos.dev/v1alpha1
kind: AgentConfig
metadata: {name: c}
spec: {agentsMD: hello, mcpServers: [{name: m, type: stdio, command: x, env: {secretName: not-a-secret}}]}
---
apiVersion: kelos.dev/v1alpha1
kind: TaskSpawner
metadata: {name: s}
spec:
  when: {cron: {schedule: 0 9 * * 1-5, timeZone: Europe/Berlin}}
  taskTemplate:
    type: claude-code
    credentials: {type: oauth, secretRef: {name: key}}
    workspaceRef: {name: w}
    agentConfigRefs: [{name: c}]
    promptTemplate: It is {{.Time}}
    podOverrides:
      resources: {limits: {cpu: 2, memory: 1Gi}}
      env: [{name: A, valueFrom: {secretKeyRef: {name: key, key: a}}}]
---
apiVersion: kelos.dev/v1alpha1
kind: Task
metadata: {name: first}
spec: {type: shell, prompt: echo hi, branch: kelos/first}
---
apiVersion: kelos.dev/v1alpha1
kind: Task
metadata: {name: second}
spec: {type: shell, prompt: echo ho, dependsOn: [first, old]}
";
    let mut context = named(&["token", "key"]);
    context.live.insert((Kind::Task, "old".to_owned()));
    check_text(text, &context, &[]);
}

#[test]
fn documents_that_are_no_objects_of_ours() {
    let check_one = |text: &str, expected: &[&str]| check_text(text, &Context::default(), expected);
    let only = "a config repository may hold Task, TaskSpawner, Workspace, AgentConfig";
    check_one(
        "[1]",
        &[
            "0  not-an-object: the document is not a mapping (every document holds one object, with apiVersion, kind, metadata and spec)",
        ],
    );
    check_one(
        "kind: 1",
        &[
            "0 /apiVersion missing-kind: apiVersion is missing or is not text",
            "0 /kind missing-kind: kind is missing or is not text",
        ],
    );
    check_one(
        "{apiVersion: kelos.dev/v1alpha1, kind: Tsk}",
        &["0 /kind unknown-kind: kelos.dev has no kind \"Tsk\" (did you mean \"Task\"?)"],
    );
    check_one(
        "{apiVersion: kelos.dev/v1alpha1, kind: Banana}",
        &[&format!("0 /kind unknown-kind: kelos.dev has no kind \"Banana\" ({only})")],
    );
    check_one(
        "{apiVersion: v1, kind: Secret}",
        &[
            "0 /kind kind-not-allowed: Secret of v1 has no place in a config repository (it may hold Task, TaskSpawner, Workspace, AgentConfig)",
        ],
    );
    check_one(
        "{apiVersion: axon.io/v1alpha1, kind: Task}",
        &[
            "0 /kind kind-not-allowed: Task of axon.io/v1alpha1 has no place in a config repository (write apiVersion: kelos.dev/v1alpha1)",
        ],
    );
    check_one(
        "{apiVersion: gitops.kelos.dev/v1alpha1, kind: ConfigRepository, metadata: {name: x}}",
        &[
            "0 /kind kind-not-allowed: a ConfigRepository has no place in a config repository (it may hold Task, TaskSpawner, Workspace, AgentConfig; create a ConfigRepository with kubectl)",
        ],
    );
    check_one(
        "{apiVersion: kelos.dev/v1alpha2, kind: Task}",
        &[
            "0 /apiVersion unsupported-version: Task is not served in version \"v1alpha2\" (write apiVersion: kelos.dev/v1alpha1)",
        ],
    );
    check_one(
        "{apiVersion: v1, kind: List, items: []}",
        &[
            "0 /kind list-not-allowed: a list of objects is not read (put the objects into documents of their own, separated by ---)",
        ],
    );
}

#[test]
fn metadata_that_does_not_belong_into_git() {
    let task = |metadata: &str| {
        format!(
            "{{apiVersion: kelos.dev/v1alpha1, kind: Task, metadata: {metadata}, spec: {{type: shell, prompt: x}}}}"
        )
    };
    let check_one = |metadata: &str, expected: &[&str]| check_text(&task(metadata), &named(&[]), expected);
    check_one("{}", &["0 /metadata/name missing-name: the Task has no name (add metadata.name)"]);
    check_one(
        "{generateName: x-}",
        &[
            "0 /metadata/generateName generate-name: generateName gives a new object at every apply (give the object a name; a Task of the same name and spec runs once)",
        ],
    );
    check_one(
        "{name: A_b}",
        &[
            "0 /metadata/name invalid-name: the name \"A_b\" must consist of lower case letters, digits, '-' and '.', and begin and end with a letter or digit",
        ],
    );
    check_one(
        &format!("{{name: {}}}", "a".repeat(64)),
        &[
            "0 /metadata/name name-too-long: the name is 64 characters long, at most 63 are allowed: labels carry the name of a Task",
        ],
    );
    check_one(
        "{name: a, namespace: kube-system}",
        &[
            "0 /metadata/namespace foreign-namespace: the object is for namespace \"kube-system\", and \"prod\" is applied to (remove metadata.namespace; each ConfigRepository applies to its own namespace)",
        ],
    );
    check_one(
        "{name: a, uid: x, finalizers: []}",
        &[
            "0 /metadata/finalizers server-field: metadata.finalizers is written by the server (remove it)",
            "0 /metadata/uid server-field: metadata.uid is written by the server (remove it)",
        ],
    );
    check_one(
        "{name: a, labels: {kelos.dev/taskspawner: s, 'a b': c, ok: 'no good'}, annotations: {kelos.dev/config-revision: x}}",
        &[
            "0 /metadata/annotations/kelos.dev~1config-revision reserved-key: kelos.dev/config-revision is written by Kelos itself (remove it)",
            "0 /metadata/labels/a b invalid-label: \"a b\" is not a key that Kubernetes allows (a key is PREFIX/NAME or NAME; NAME has at most 63 letters, digits, '-', '_' and '.')",
            "0 /metadata/labels/kelos.dev~1taskspawner reserved-key: kelos.dev/taskspawner is written by Kelos itself (remove it)",
            "0 /metadata/labels/ok invalid-label: \"no good\" is not a label value that Kubernetes allows (a value has at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends)",
        ],
    );
    let long = format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata: {{name: {}}}\nspec: {{when: {{cron: {{schedule: 0 9 * * 1}}}}, taskTemplate: {{type: shell, promptTemplate: x}}}}",
        "a".repeat(50)
    );
    check_text(
        &long,
        &Context::default(),
        &[
            "0 /metadata/name name-too-long: the name is 50 characters long, at most 49 are allowed: the name of each Task adds -YYYYMMDD-HHMM, and labels carry it",
        ],
    );
    check_text(
        "{apiVersion: kelos.dev/v1alpha1, kind: Workspace, metadata: {name: w}, spec: {repo: https://x/a}, status: {a: 1}}",
        &Context::default(),
        &["0 /status server-field: status is written by the server (remove it)"],
    );
}

#[test]
fn all_mistakes_of_an_object_are_found_at_once() {
    check_text(
        &format!(
            "{SPAWNER}spec:
  suspend: 'true'
  maxConcurency: 3
  pollInterval: 5 minutes
  when:
    githubIssues: {{types: [issue], state: opened, repo: nope, pollInterval: '0'}}
  taskTemplate:
    type: claude-cod
    workspaceRef: {{}}
    branch: -x
    nameTemplate: x
    ttlSecondsAfterFinished: -1
    promptTemplate:
    podOverrides:
      env: [{{name: A, value: 1}}, {{value: x}}]
      resources: {{limit: {{}}}}
      extraContainers: [{{name: kelos-x, image: i}}]
"
        ),
        &Context::default(),
        &[
            "0 /spec/maxConcurency unknown-field: there is no field spec.maxConcurency (did you mean \"maxConcurrency\"?)",
            "0 /spec/pollInterval invalid-duration: \"5 minutes\" is not a duration (write it like 30s, 5m or 1h30m)",
            "0 /spec/suspend wrong-type: spec.suspend must be true or false, not text (remove the quotes)",
            "0 /spec/taskTemplate/branch invalid-branch: \"-x\" is not a branch that git allows: it begins with a dash",
            "0 /spec/taskTemplate/nameTemplate unknown-field: there is no field spec.taskTemplate.nameTemplate (upstream has it in v1alpha2 only; Tasks are named after the spawner and the item)",
            "0 /spec/taskTemplate/podOverrides/env/0/value invalid-pod-part: spec.taskTemplate.podOverrides.env[0].value cannot be read: invalid type: integer `1`, expected a string (values of variables are text; put the value in quotes)",
            "0 /spec/taskTemplate/podOverrides/env/1/name missing-field: spec.taskTemplate.podOverrides.env[1].name is required",
            "0 /spec/taskTemplate/podOverrides/extraContainers rule-broken: extraContainers[].name must not use the reserved 'kelos-' prefix or a built-in init container name",
            "0 /spec/taskTemplate/podOverrides/resources/limit unknown-field: there is no field spec.taskTemplate.podOverrides.resources.limit",
            "0 /spec/taskTemplate/promptTemplate wrong-type: spec.taskTemplate.promptTemplate is empty (give it a value (text) or remove the field)",
            "0 /spec/taskTemplate/ttlSecondsAfterFinished out-of-range: spec.taskTemplate.ttlSecondsAfterFinished must be at least 0",
            "0 /spec/taskTemplate/type unknown-value: spec.taskTemplate.type has no value \"claude-cod\" (did you mean \"claude-code\"? allowed are \"claude-code\", \"codex\", \"gemini\", \"opencode\", \"cursor\", \"shell\")",
            "0 /spec/taskTemplate/workspaceRef/name missing-field: spec.taskTemplate.workspaceRef.name is required",
            "0 /spec/when/githubIssues/pollInterval invalid-duration: the interval is zero (write it like 30s, 5m or 1h30m)",
            "0 /spec/when/githubIssues/repo malformed-value: \"nope\" is not a repository (write OWNER/REPOSITORY, or a URL)",
            "0 /spec/when/githubIssues/state unknown-value: spec.when.githubIssues.state has no value \"opened\" (did you mean \"open\"? allowed are \"open\", \"closed\", \"all\")",
            "0 /spec/when/githubIssues/types/0 unknown-value: \"issue\" is not a type of item (did you mean \"issues\"?)",
        ],
    );
}

#[test]
fn schedules_sources_and_patterns() {
    let spawner = |when: &str| {
        format!(
            "{SPAWNER}spec: {{when: {when}, taskTemplate: {{type: shell, promptTemplate: x, workspaceRef: {{name: w}}}}}}"
        )
    };
    let mut context = Context::default();
    context.live.insert((Kind::Workspace, "w".to_owned()));
    let codes = |when: &str| {
        let text = spawner(when);
        let value = yaml::parse(&text, &yaml::Limits::default()).unwrap().remove(0).value;
        let found = check(&[Manifest { file: "a", document: 0, value: &value }], &context);
        found.iter().map(|finding| format!("{} {}", finding.pointer, finding.code)).collect::<Vec<_>>()
    };
    assert_eq!(codes("{cron: {schedule: 0 9 * * 1}}"), Vec::<String>::new());
    assert_eq!(codes("{cron: {schedule: 0 9 * * 8}}"), ["/spec/when/cron/schedule invalid-cron"]);
    assert_eq!(codes("{cron: {schedule: 0 0 30 2 *}}"), ["/spec/when/cron/schedule never-fires"]);
    assert_eq!(codes("{cron: {schedule: 0 0 29 2 *}}"), Vec::<String>::new());
    assert_eq!(
        codes("{cron: {schedule: 0 9 * * 1, timeZone: Europe/Belrin}}"),
        ["/spec/when/cron/timeZone unknown-time-zone"]
    );
    assert_eq!(codes("{}"), ["/spec/when no-source"]);
    assert_eq!(codes("{corn: {schedule: 0 9 * * 1}}"), ["/spec/when/corn unknown-field"]);
    assert_eq!(
        codes("{cron: {schedule: 0 9 * * 1}, slack: {excludePatterns: ['(']}}"),
        ["/spec/when several-sources", "/spec/when/slack/excludePatterns/0 invalid-pattern"]
    );
    assert_eq!(
        codes(
            "{githubWebhook: {events: [issues], filters: [{event: push, bodyPattern: 'a(?i)b', excludeBodyPatterns: [ok, '[']}]}}"
        ),
        [
            "/spec/when/githubWebhook/filters/0/event unheard-event",
            "/spec/when/githubWebhook/filters/0/excludeBodyPatterns/1 invalid-pattern",
        ]
    );
    assert_eq!(codes("{linearWebhook: {types: [Issue], filters: [{type: issue}]}}"), Vec::<String>::new());
    assert_eq!(codes("{githubIssues: {types: []}}"), ["/spec/when/githubIssues/types out-of-range"]);
}

#[test]
fn references_duplicates_and_circles() {
    check_text(
        &format!("{TASK}spec: {{type: shell, prompt: x, workspaceRef: {{name: frontnd}}, agentConfigRefs: [{{name: c}}, {{name: d}}], dependsOn: [u, t]}}
---
{}spec: {{type: shell, prompt: x, dependsOn: [t]}}
---
{TASK}spec: {{type: shell, prompt: z}}
---
{{apiVersion: kelos.dev/v1alpha1, kind: Workspace, metadata: {{name: frontend}}, spec: {{repo: https://x/a}}}}
---
{{apiVersion: kelos.dev/v1alpha1, kind: AgentConfig, metadata: {{name: c}}, spec: {{}}}}
", TASK.replace("name: t", "name: u")),
        &Context::default(),
        &[
            "0 /spec/workspaceRef/name missing-reference: there is no Workspace \"frontnd\", neither in the repository nor in the namespace (did you mean \"frontend\"?)",
            "0 /spec/agentConfigRefs/1/name missing-reference: there is no AgentConfig \"d\", neither in the repository nor in the namespace (did you mean \"c\"?)",
            "0 /spec/dependsOn/1 dependency-cycle: these Tasks wait for each other: t -> t (take one of the dependencies out)",
            "2 /metadata/name duplicate-object: there is another Task \"t\" in all.yaml (rename or remove one)",
        ],
    );
    check_text(
        &format!(
            "{TASK}spec: {{type: shell, prompt: x, dependsOn: [v, u]}}\n---\n{}spec: {{type: shell, prompt: x, dependsOn: [t]}}",
            TASK.replace("name: t", "name: u")
        ),
        &Context::default(),
        &[
            "0 /spec/dependsOn/0 missing-reference: there is no Task \"v\", neither in the repository nor in the namespace (did you mean \"t\"?)",
            "0 /spec/dependsOn/1 dependency-cycle: these Tasks wait for each other: t -> u -> t (take one of the dependencies out)",
        ],
    );
}

#[test]
fn only_allowed_secrets_may_be_named_wherever_they_are_named() {
    let spec = json!({
        "credentials": { "type": "oauth", "secretRef": { "name": "s1" } },
        "podOverrides": {
            "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s2", "key": "k" } } }, { "name": "secretName", "value": "no" }],
            "imagePullSecrets": [{ "name": "s3" }],
            "volumes": [
                { "name": "a", "secret": { "secretName": "s4" } },
                { "name": "b", "projected": { "sources": [{ "secret": { "name": "s5" } }] } },
                { "name": "c", "csi": { "driver": "d", "nodePublishSecretRef": { "name": "s6" } } },
            ],
            "extraContainers": [{ "name": "x", "image": "i", "envFrom": [{ "secretRef": { "name": "s7" } }], "env": [{ "name": "B", "valueFrom": { "secretKeyRef": { "name": "s8", "key": "k" } } }] }],
            "labels": { "secretName": "no" },
        },
        "contextSources": [{ "name": "c", "http": { "url": "https://x", "headersFrom": [{ "header": "h", "secretName": "s9", "secretKey": "k" }], "headers": { "secretName": "no" } } }],
    });
    let found = secrets::secrets(&spec);
    let mut names: Vec<&str> = found.iter().map(|(_, name)| *name).collect();
    names.sort_unstable();
    assert_eq!(names, ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"]);
    check_text(
        "{apiVersion: kelos.dev/v1alpha1, kind: Workspace, metadata: {name: w}, spec: {repo: https://x/a, secretRef: {name: github-tokn}}}",
        &named(&["github-token"]),
        &[
            "0 /spec/secretRef/name secret-not-allowed: the Secret \"github-tokn\" may not be used by this repository (did you mean \"github-token\"?)",
        ],
    );
}

#[test]
fn values_that_may_be_confidential_are_not_repeated() {
    let text = "{apiVersion: kelos.dev/v1alpha1, kind: Workspace, metadata: {name: w}, spec: {repo: 'ftp://me:hunter2@x', setupCommand: [[hunter2]]}}";
    let value = yaml::parse(text, &yaml::Limits::default()).unwrap().remove(0).value;
    let found = check(&[Manifest { file: "a", document: 0, value: &value }], &Context::default());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|finding| !line(finding).contains("hunter2")), "{found:?}");
}

#[test]
fn hostile_shapes_are_findings_and_no_panics() {
    let values = [
        json!(null),
        json!(0),
        json!("x"),
        json!([]),
        json!([null, [1], "a"]),
        json!({}),
        json!({ "name": {} }),
    ];
    for kind in Kind::IN_GIT {
        let schema = crate::api::schema::json_schema(kind);
        let fields: Vec<&String> =
            schema["$defs"]["Spec"]["properties"].as_object().unwrap().keys().collect();
        for field in fields {
            for value in &values {
                let object = json!({ "apiVersion": "kelos.dev/v1alpha1", "kind": kind, "metadata": value, "spec": { field: value } });
                let _findings = check(&[Manifest { file: "a", document: 0, value: &object }], &named(&[]));
                for inner in &values {
                    let object = json!({ "apiVersion": "kelos.dev/v1alpha1", "kind": kind, "metadata": { "name": "x", "labels": value }, "spec": { field: { "cron": inner, "githubIssues": inner, "env": inner, "podOverrides": { "env": inner, "volumes": [inner] } } } });
                    let _findings =
                        check(&[Manifest { file: "a", document: 0, value: &object }], &named(&[]));
                }
            }
        }
    }
}

#[test]
fn templates_of_spawners_name_what_their_source_has() {
    let check_when = |when: &str, template: &str, expected: &[&str]| {
        let mut context = Context::default();
        context.live.insert((Kind::Workspace, "w".to_owned()));
        let text = format!(
            "{SPAWNER}spec: {{when: {when}, taskTemplate: {{type: codex, credentials: {{type: none}}, workspaceRef: {{name: w}}, {template}}}}}"
        );
        check_text(&text, &context, expected);
    };
    let cron = "{cron: {schedule: 0 9 * * 1}}";
    check_when(cron, "promptTemplate: '{{.Time}} {{.Schedule}} {{.Title}}', branch: 'kelos/{{.ID}}'", &[]);
    check_when(
        cron,
        "promptTemplate: \"a\\n{{.Titel}} {{.Titel}}\"",
        &[
            "0 /spec/taskTemplate/promptTemplate unknown-variable: there is no variable .Titel (did you mean \"Title\"?)",
        ],
    );
    check_when(
        cron,
        "promptTemplate: '{{.Body}}', branch: '{{.Nonsense}}'",
        &[
            "0 /spec/taskTemplate/branch unknown-variable: there is no variable .Nonsense (cron has ID, Title, Kind, Time, Schedule)",
            "0 /spec/taskTemplate/promptTemplate empty-variable: .Body is always empty for cron",
        ],
    );
    check_when(
        cron,
        "promptTemplate: '{{if}}', metadata: {labels: {a: '{{.Title.x}}'}, annotations: {b: '{{.Deps.x}}'}}",
        &[
            "0 /spec/taskTemplate/metadata/annotations/b unknown-variable: there is no variable .Deps (results of dependencies are known only to prompts of Tasks that are written out in git)",
            "0 /spec/taskTemplate/metadata/labels/a unknown-variable: .Title has no field \"x\"",
            "0 /spec/taskTemplate/promptTemplate template-syntax: the template cannot be read: the block `if` has no `{{end}}`",
        ],
    );
    let webhook = "{webhook: {source: s, fieldMapping: {id: $.id, severity: $.s}}}";
    check_when(
        webhook,
        "promptTemplate: '{{.severity}} {{.id}} {{.ID}} {{.Payload.a.b}} {{.Title}} {{.sevrity}}'",
        &[
            "0 /spec/taskTemplate/promptTemplate unknown-variable: there is no variable .sevrity (did you mean \"severity\"?)",
            "0 /spec/taskTemplate/promptTemplate empty-variable: .Title is always empty for webhook (add its key to fieldMapping)",
        ],
    );
    check_when(
        cron,
        "promptTemplate: '{{.Context.wether}}', contextSources: [{name: weather, http: {url: 'https://x/{{.ID}}', headers: {a: '{{.Context.weather}}'}}}]",
        &[
            "0 /spec/taskTemplate/contextSources/0/http/headers/a unknown-variable: context sources cannot use each other's values",
            "0 /spec/taskTemplate/promptTemplate unknown-variable: there is no context source \"wether\" (did you mean \"weather\"?)",
        ],
    );
    let issues = "{githubIssues: {}}";
    check_when(
        issues,
        "promptTemplate: '{{range $i := .Labels}}{{$i}}{{end}}{{with index . \"Branch\"}}{{.}}{{end}}'",
        &["0 /spec/taskTemplate/promptTemplate empty-variable: .Branch is always empty for githubIssues"],
    );
}

#[test]
fn scripts_take_no_text_of_others() {
    let mut context = Context::default();
    context.live.insert((Kind::Workspace, "w".to_owned()));
    let spawner = |when: &str, script: &str| {
        format!(
            "{SPAWNER}spec: {{when: {when}, taskTemplate: {{type: shell, workspaceRef: {{name: w}}, promptTemplate: {script:?}}}}}"
        )
    };
    let issues = "{githubIssues: {}}";
    check_text(
        &spawner(issues, "echo {{.Number}}; docker ps --format '{{.Names}}'"),
        &context,
        &[
            "0 /spec/taskTemplate/promptTemplate unknown-variable: there is no variable .Names (githubIssues has ID, Number, Title, Body, URL, Labels, Comments, Kind)",
        ],
    );
    check_text(&spawner(issues, "docker ps --format '{{.Names}}'; x='{{'"), &context, &[]);
    check_text(
        &spawner(issues, "echo\necho {{.Title}}"),
        &context,
        &[
            "0 /spec/taskTemplate/promptTemplate shell-template: {{.Title}} may not be filled into a script (read it from a KELOS_ITEM_ variable, or from the file that $KELOS_ITEM_FILE names)",
        ],
    );
    check_text(
        &format!("{TASK}spec: {{type: shell, prompt: 'echo {{{{.Deps.a.Results.x}}}}'}}"),
        &context,
        &[
            "0 /spec/prompt shell-template: the results of other Tasks may not be filled into a script (read them from the file that $KELOS_ITEM_FILE names, under Deps)",
        ],
    );
}

#[test]
fn prompts_of_tasks_name_their_dependencies() {
    let mut context = Context::default();
    context.live.insert((Kind::Task, "build-it".to_owned()));
    let task = |prompt: &str, depends: &str| {
        format!(
            "{TASK}spec: {{type: codex, credentials: {{type: none}}, dependsOn: {depends}, prompt: {prompt:?}}}"
        )
    };
    check_text(&task("{{index .Deps \"build-it\" \"Results\" \"branch\"}}", "[build-it]"), &context, &[]);
    check_text(
        &task(
            "{{index .Deps \"biuld-it\" \"Results\" \"branch\"}} {{(index .Deps \"build-it\").Result}} {{.Title}}",
            "[build-it]",
        ),
        &context,
        &[
            "0 /spec/prompt unknown-variable: a dependency has no field \"Result\" (did you mean \"Results\"?)",
            "0 /spec/prompt unknown-variable: the prompt of a Task has no variable .Title (it has .Deps alone, as in {{index .Deps \"build\" \"Results\" \"branch\"}})",
            "0 /spec/prompt unknown-dependency: the prompt uses results of \"biuld-it\", which is not in dependsOn (did you mean \"build-it\"?)",
        ],
    );
    check_text(
        &task("a\n{{.Title}} and {{.Names}}", "[]"),
        &context,
        &[
            "0 /spec/prompt template-not-rendered: the prompt is not rendered, so the agent reads {{.Title}} (prompts of Tasks are rendered when dependsOn is set)",
        ],
    );
    check_text(
        &task("{{", "[build-it]"),
        &context,
        &["0 /spec/prompt template-syntax: the template cannot be read: the action `{{` is not closed"],
    );
}

#[test]
fn a_finding_in_a_template_names_its_line() {
    let text = format!(
        "{TASK}spec:\n  type: codex\n  credentials: {{type: none}}\n  dependsOn: [t2]\n  prompt: |\n    one\n    two {{{{.Title}}}}\n---\n{}spec: {{type: shell, prompt: x}}",
        TASK.replace("name: t", "name: t2")
    );
    let documents = yaml::parse(&text, &yaml::Limits::default()).unwrap();
    let manifests: Vec<Manifest<'_>> = documents
        .iter()
        .enumerate()
        .map(|(document, parsed)| Manifest { file: "a", document, value: &parsed.value })
        .collect();
    let found = check(&manifests, &Context::default());
    assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [Some(2)]);
}
