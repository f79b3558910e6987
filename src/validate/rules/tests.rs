use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::api::kind::Kind;
use crate::api::schema;

/// Objects that the rules are about: recorded ones and our own. One JSON document a line.
const RECORDED: &str = include_str!("../../../tests/testdata/kinds/upstream-admission.jsonl");
const OURS: &str = include_str!("../../../tests/testdata/kinds/rule-corpus.jsonl");

struct Case {
    name: String,
    object: Value,
    old: Option<Value>,
}

fn corpus() -> Vec<Case> {
    let read = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let name = line["case"].as_str().unwrap().to_owned();
        let input = line["input"].take();
        Case { name, object: input["object"].clone(), old: input.get("oldObject").cloned() }
    };
    RECORDED.lines().chain(OURS.lines()).map(read).collect()
}

fn kind_of(object: &Value) -> Kind {
    object["kind"].as_str().unwrap().parse().unwrap()
}

/// The CEL text of a rule, compiled once.
struct CelRule {
    environment: Arc<cel::Env>,
    program: cel::Program,
}

impl CelRule {
    fn compile(rule: &Rule) -> Self {
        let environment = Arc::new(cel::Env::stdlib());
        let program = environment.compile(&rule.cel).unwrap_or_else(|error| panic!("{}: {error}", rule.cel));
        Self { environment, program }
    }

    fn holds(&self, value: &Value, old: Option<&Value>) -> bool {
        let mut context = cel::Context::with_env(Arc::clone(&self.environment));
        context.add_variable("self", value).unwrap();
        if let Some(old) = old {
            context.add_variable("oldSelf", old).unwrap();
        }
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(verdict)) => verdict,
            other => panic!("no verdict on {value}: {other:?}"),
        }
    }
}

#[test]
fn the_cel_text_and_the_predicate_of_every_rule_agree() {
    let mut kept = BTreeSet::new();
    let mut broken = BTreeSet::new();
    let mut accepted = 0;
    let programs: Vec<CelRule> = RULES.iter().map(CelRule::compile).collect();
    let schemas: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| jsonschema::validator_for(&schema::json_schema(*kind)).unwrap())
        .collect();
    for case in corpus() {
        let kind = kind_of(&case.object);
        // A server asks CEL only about objects that the schema accepts.
        if !schemas[Kind::ALL.iter().position(|other| *other == kind).unwrap()].is_valid(&case.object) {
            continue;
        }
        accepted += 1;
        for (index, rule) in RULES.iter().enumerate().filter(|(_, rule)| rule.kind == kind) {
            if rule.transition && case.old.is_none() {
                continue;
            }
            visit(&rule.path, &Place::root(&case.object, case.old.as_ref()), &mut |place| {
                let verdict = (rule.holds)(place.value, place.older);
                assert_eq!(
                    programs[index].holds(place.value, place.older),
                    verdict,
                    "{}: {} at {:?}",
                    case.name,
                    rule.cel,
                    place.spell()
                );
                if verdict {
                    kept.insert(index)
                } else {
                    broken.insert(index)
                };
            });
        }
    }
    assert!(accepted > 100, "only {accepted} objects take part");
    let untried: Vec<_> =
        (0..RULES.len()).filter(|index| !kept.contains(index) || !broken.contains(index)).collect();
    let untried: Vec<_> =
        untried.iter().map(|&index| (RULES[index].path.as_str(), RULES[index].message)).collect();
    assert!(untried.is_empty(), "rules that the corpus does not both keep and break: {untried:?}");
}

/// The verdicts of our own corpus are recorded from a real API server, version 1.37, that was given our CRDs.
#[test]
fn a_real_server_gives_the_same_verdicts_with_the_same_texts() {
    for line in OURS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let object = &case["input"]["object"];
        let found = violations(kind_of(object).as_str(), object, case["input"].get("oldObject"));
        let expected: Vec<&str> =
            case["output"]["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(
            found.is_empty(),
            case["output"]["valid"].as_bool().unwrap(),
            "{}: {found:?}",
            case["case"]
        );
        assert_eq!(found.len(), expected.len(), "{}: {found:?}", case["case"]);
        for (violation, text) in found.iter().zip(expected) {
            let path = if violation.path.is_empty() { "<nil>" } else { &violation.path };
            let said = text.starts_with(&format!("{path}: ")) && text.ends_with(&violation.message);
            assert!(said, "{}: {violation:?} and {text}", case["case"]);
        }
    }
}

#[test]
fn a_violation_names_the_field() {
    let spawner = json!({ "spec": {
        "when": { "webhook": { "source": "s", "fieldMapping": { "id": "$.id" }, "filters": [{ "field": "$.a", "value": "x" }, { "field": "$.b" }] } },
        "taskTemplate": { "type": "codex" },
    }});
    let found = violations("TaskSpawner", &spawner, None);
    let seen: Vec<_> = found
        .iter()
        .map(|violation| (violation.path.as_str(), violation.pointer.as_str(), violation.reason))
        .collect();
    assert_eq!(
        seen,
        [
            ("spec.when.webhook.filters[1]", "/spec/when/webhook/filters/1", RuleReason::Invalid),
            ("spec.taskTemplate.credentials", "/spec/taskTemplate/credentials", RuleReason::Required),
        ]
    );
}

#[test]
fn values_of_a_wrong_type_break_no_rule_and_no_program() {
    for kind in Kind::ALL {
        for value in [
            json!(null),
            json!(1),
            json!("x"),
            json!([]),
            json!([[1], null, "x"]),
            json!({}),
            json!({ "name": [] }),
        ] {
            for rule in RULES.iter().filter(|rule| rule.kind == *kind) {
                let mut object = json!({});
                let mut inner = &mut object;
                for segment in rule.path.split('.').filter(|segment| !segment.is_empty()) {
                    inner = &mut inner[segment.trim_end_matches("[*]")];
                }
                *inner = value.clone();
                let _verdicts = violations(kind.as_str(), &object, Some(&object));
            }
        }
    }
    assert_eq!(violations("Unknown", &json!({}), None), []);
}
