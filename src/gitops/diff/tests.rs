use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::plan::{ObjectKey, ObjectText};

fn now() -> Timestamp {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn desired(kind: ManagedKind, name: &str, spec: &Value) -> Desired {
    let manifest = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec,
    });
    Desired {
        key: ObjectKey { kind, name: name.to_owned() },
        digest: crate::digest::sha256_hex(manifest.to_string()),
        spec_digest: crate::digest::sha256_hex(spec.to_string()),
        manifest: ObjectText::of(&manifest),
        file: Arc::from("a.yaml"),
        line: 3,
        depends_on: Vec::new(),
    }
}

fn spawner(schedule: &str, suspend: bool) -> Desired {
    let spec = json!({"when": {"cron": {"schedule": schedule}}, "suspend": suspend});
    desired(ManagedKind::TaskSpawner, "s", &spec)
}

/// Returns `EFFECT KIND/NAME` and the paths that differ, for each object.
fn told(difference: &Difference) -> Vec<String> {
    let line = |object: &ObjectDifference| {
        let paths: Vec<&str> = object.fields.iter().map(|field| field.path.as_str()).collect();
        format!("{:?} {}/{} {}", object.effect, object.kind, object.name, paths.join(" "))
            .trim_end()
            .to_owned()
    };
    difference.objects.iter().map(line).collect()
}

#[test]
fn revisions_are_compared_by_what_they_do() {
    let task = |name: &str, prompt: &str| desired(ManagedKind::Task, name, &json!({"prompt": prompt}));
    let mut annotated = task("noted", "x");
    annotated.digest = "other".to_owned();
    annotated.manifest = ObjectText::of(&json!({
        "kind": "Task", "metadata": {"name": "noted", "annotations": {"a": "b"}}, "spec": {"prompt": "x"},
    }));
    let before = [
        task("same", "x"),
        task("changed", "x"),
        task("noted", "x"),
        task("gone", "x"),
        desired(ManagedKind::Workspace, "gone", &json!({"repo": "a"})),
        desired(ManagedKind::Workspace, "w", &json!({"repo": "a"})),
    ];
    let after = [
        task("same", "x"),
        task("changed", "y"),
        annotated,
        task("new", "x"),
        desired(ManagedKind::Workspace, "w", &json!({"repo": "b"})),
        desired(ManagedKind::AgentConfig, "c", &json!({})),
    ];
    assert_eq!(
        told(&between(&before, &after, now())),
        [
            "Changed Workspace/w $.spec.repo",
            "Added AgentConfig/c",
            "RunsAgain Task/changed $.spec.prompt",
            "Runs Task/new",
            "RunStands Task/noted $.metadata.annotations.a",
            "Removed Task/gone",
            "Removed Workspace/gone",
        ],
    );
    assert!(between(&before, &before, now()).is_empty());
}

#[test]
fn a_changed_schedule_shows_its_next_ticks() {
    let check = |before: &Desired, after: &Desired, old: Option<&str>, new: Option<&str>| {
        let difference = between(std::slice::from_ref(before), std::slice::from_ref(after), now());
        let time = |text: Option<&str>| text.map(|text| text.parse::<Timestamp>().unwrap());
        assert_eq!(difference.objects[0].fires, Some(Fires { before: time(old), after: time(new) }));
    };
    let (ten, eleven) = (Some("2026-03-01T10:00:00Z"), Some("2026-03-01T11:00:00Z"));
    check(&spawner("0 10 * * *", false), &spawner("0 11 * * *", false), ten, eleven);
    check(&spawner("0 10 * * *", false), &spawner("0 10 * * *", true), ten, None);
    check(&spawner("0 10 * * *", true), &spawner("0 10 * * *", false), None, ten);
}

#[test]
fn a_plan_is_told_with_what_the_server_makes_of_it() {
    let desired = [
        desired(ManagedKind::Workspace, "w", &json!({"repo": "b"})),
        desired(ManagedKind::Task, "t", &json!({"prompt": "y"})),
        desired(ManagedKind::Task, "later", &json!({"prompt": "y"})),
        desired(ManagedKind::Task, "after", &json!({"prompt": "y"})),
    ];
    let key = |index: usize| desired[index].key.clone();
    let plan = Plan {
        actions: vec![
            Action::Apply { desired: 0, reason: ApplyReason::Changed, keep_suspended: false },
            Action::RunAgain { desired: 1, uid: "u".to_owned() },
        ],
        notices: vec![
            Notice::WaitsForOlderRun(key(2)),
            Notice::WaitsForDependency { task: key(3), dependency: "later".to_owned() },
            Notice::SuspendedByHand(key(0)),
        ],
        held_prunes: vec![ObjectKey { kind: ManagedKind::Workspace, name: "old".to_owned() }],
        unchanged: 0,
    };
    let labels = json!({labels::OWNER_UID: "o", "mine": "x"});
    let workspace = json!({"metadata": {"uid": "1", "labels": labels}, "spec": {"repo": "a", "default": 1}});
    let task = json!({"metadata": {"uid": "2", "labels": {"by": "others"}}, "spec": {"prompt": "x"}});
    let live = BTreeMap::from([(key(0), workspace), (key(1), task.clone()), (key(2), task)]);
    let labels = json!({"mine": "x"});
    let asked = json!({"metadata": {"uid": "1", "labels": labels}, "spec": {"repo": "b", "default": 1}});
    let difference = planned(&desired, &plan, &live, &BTreeMap::from([(0, asked)]), now());
    assert_eq!(
        told(&difference),
        [
            "Changed Workspace/w $.spec.repo",
            "RunsAgain Task/t $.spec.prompt",
            "RemovalHeld Workspace/old",
            "RunsAgainLater Task/later $.spec.prompt",
            "RunsAfterDependency Task/after",
        ],
    );
    assert_eq!(difference.notices, ["Workspace/w was suspended by hand and stays suspended"]);
}
