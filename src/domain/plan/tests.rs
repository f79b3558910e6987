use serde_json::json;

use super::*;

const OWNER: &str = "repository-uid";

#[derive(Default)]
struct FakeCluster {
    objects: BTreeMap<ObjectKey, Arc<Observed>>,
    runs: HashSet<(String, String)>,
}

impl Cluster for FakeCluster {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Observed>> {
        self.objects.get(key).cloned()
    }

    fn owned_by(&self, owner: &str) -> Vec<(ObjectKey, String)> {
        self.objects
            .iter()
            .filter(|(_, observed)| observed.owner.as_deref() == Some(owner))
            .map(|(key, observed)| (key.clone(), observed.uid.clone()))
            .collect()
    }

    fn has_run(&self, task_name: &str, spec_digest: &str) -> bool {
        self.runs.contains(&(task_name.to_owned(), spec_digest.to_owned()))
    }
}

fn key(kind: ManagedKind, name: &str) -> ObjectKey {
    ObjectKey { kind, name: name.to_owned() }
}

fn desired(kind: ManagedKind, name: &str, digest: &str) -> Desired {
    Desired {
        key: key(kind, name),
        manifest: ObjectText::of(
            &json!({"kind": kind.as_str(), "metadata": {"name": name}, "spec": {"value": digest}}),
        ),
        digest: digest.to_owned(),
        spec_digest: digest.to_owned(),
        file: "a.yaml".into(),
        line: 1,
        depends_on: Vec::new(),
    }
}

fn observed(of: &Desired) -> Observed {
    Observed {
        uid: format!("uid-{}", of.key.name),
        owner: Some(OWNER.to_owned()),
        digest: Some(of.digest.clone()),
        spec_digest: Some(of.spec_digest.clone()),
        finished: false,
        deleting: false,
        suspended_by_hand: false,
        content: 0,
        drift: Arc::new(Drift::of(of.manifest.clone())),
    }
}

fn cluster(objects: impl IntoIterator<Item = (ObjectKey, Observed)>) -> FakeCluster {
    let objects = objects.into_iter().map(|(key, observed)| (key, Arc::new(observed)));
    FakeCluster { objects: objects.collect(), runs: HashSet::new() }
}

const OPEN: PruneGuard = PruneGuard { enabled: true, limit_percent: 50, confirmed: false };

#[test]
fn what_is_as_git_says_is_left_alone() {
    let spawner = desired(ManagedKind::TaskSpawner, "nightly", "1");
    let cluster = cluster([(spawner.key.clone(), observed(&spawner))]);
    let plan = plan(&[spawner], &cluster, OWNER, OPEN);
    assert_eq!(plan, Plan { unchanged: 1, ..Plan::default() });
}

#[test]
fn missing_changed_and_drifted_objects_are_applied() {
    let missing = desired(ManagedKind::Workspace, "missing", "1");
    let changed = desired(ManagedKind::Workspace, "changed", "2");
    let drifted = desired(ManagedKind::Workspace, "drifted", "3");
    let mut older = observed(&changed);
    older.digest = Some("1".to_owned());
    let mut touched = observed(&drifted);
    let live = json!({"kind": "Workspace", "metadata": {"name": "drifted"}, "spec": {"value": "by hand"}});
    touched.drift = Arc::new(Drift::of(ObjectText::of(&live)));
    let cluster = cluster([(changed.key.clone(), older), (drifted.key.clone(), touched)]);
    let plan = plan(&[missing, changed, drifted], &cluster, OWNER, OPEN);
    let reasons: Vec<_> = plan
        .actions
        .into_iter()
        .map(|action| match action {
            Action::Apply { desired, reason, .. } => (desired, reason),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (1, ApplyReason::Changed),
            (2, ApplyReason::Drifted(vec!["/spec/value".to_owned()])),
            (0, ApplyReason::Missing)
        ],
    );
}

#[test]
fn a_task_runs_once_for_each_digest() {
    let task = desired(ManagedKind::Task, "once", "1");
    let decide = |cluster: &FakeCluster| plan(std::slice::from_ref(&task), cluster, OWNER, OPEN);

    let never = FakeCluster::default();
    assert_eq!(decide(&never).actions, [Action::Run { desired: 0 }]);

    let mut expired = FakeCluster::default();
    expired.runs.insert(("once".to_owned(), "1".to_owned()));
    assert_eq!(decide(&expired).actions, [], "a record of the run is enough, the object may be gone");

    let there = cluster([(task.key.clone(), observed(&task))]);
    assert_eq!(decide(&there).actions, []);

    let mut running = observed(&task);
    running.spec_digest = Some("0".to_owned());
    let older_runs = cluster([(task.key.clone(), running.clone())]);
    assert_eq!(decide(&older_runs).notices, [Notice::WaitsForOlderRun(task.key.clone())]);
    assert_eq!(decide(&older_runs).actions, []);

    running.finished = true;
    let older_ended = cluster([(task.key.clone(), running)]);
    assert_eq!(decide(&older_ended).actions, [Action::RunAgain { desired: 0, uid: "uid-once".to_owned() }]);
}

#[test]
fn what_belongs_to_another_is_not_taken() {
    let workspace = desired(ManagedKind::Workspace, "shared", "1");
    let mut foreign = observed(&workspace);
    foreign.owner = Some("another".to_owned());
    let task = desired(ManagedKind::Task, "by-hand", "1");
    let mut by_hand = observed(&task);
    by_hand.owner = None;
    by_hand.spec_digest = None;
    let cluster = cluster([(workspace.key.clone(), foreign), (task.key.clone(), by_hand)]);
    let plan = plan(&[workspace.clone(), task.clone()], &cluster, OWNER, OPEN);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.notices, [Notice::OwnedByAnother(workspace.key), Notice::OwnedByAnother(task.key)]);
}

#[test]
fn what_belonged_to_one_that_is_gone_is_taken_up() {
    let workspace = desired(ManagedKind::Workspace, "app", "1");
    let task = desired(ManagedKind::Task, "once", "1");
    let orphan = |of: &Desired| (of.key.clone(), Observed { owner: None, ..observed(of) });
    let cluster = cluster([orphan(&workspace), orphan(&task)]);
    let plan = plan(&[workspace, task], &cluster, OWNER, OPEN);
    assert_eq!(
        plan.actions,
        [Action::Apply { desired: 0, reason: ApplyReason::Changed, keep_suspended: false }],
    );
    assert_eq!(plan.unchanged, 1, "the Task ran already");
}

#[test]
fn a_suspend_by_hand_outlives_git() {
    let spawner = desired(ManagedKind::TaskSpawner, "noisy", "2");
    let mut stopped = observed(&spawner);
    stopped.digest = Some("1".to_owned());
    stopped.suspended_by_hand = true;
    let cluster = cluster([(spawner.key.clone(), stopped)]);
    let plan = plan(std::slice::from_ref(&spawner), &cluster, OWNER, OPEN);
    assert_eq!(
        plan.actions,
        [Action::Apply { desired: 0, reason: ApplyReason::Changed, keep_suspended: true }],
    );
    assert_eq!(plan.notices, [Notice::SuspendedByHand(spawner.key)]);
}

#[test]
fn pruning_waits_when_it_would_take_much() {
    let all: Vec<Desired> =
        (0..10).map(|number| desired(ManagedKind::Workspace, &format!("w{number}"), "1")).collect();
    let cluster = cluster(all.iter().map(|object| (object.key.clone(), observed(object))));
    let prunes = |kept: usize, guard: PruneGuard| {
        let plan = plan(&all[..kept], &cluster, OWNER, guard);
        (plan.actions.len(), plan.held_prunes.len())
    };
    assert_eq!(prunes(5, OPEN), (5, 0), "half is within the limit");
    assert_eq!(prunes(4, OPEN), (0, 6), "six of ten are not");
    assert_eq!(prunes(4, PruneGuard { confirmed: true, ..OPEN }), (6, 0));
    assert_eq!(prunes(0, PruneGuard { limit_percent: 100, ..OPEN }), (0, 10), "all always waits");
    assert_eq!(prunes(0, PruneGuard { enabled: false, ..OPEN }), (0, 0));
}

#[test]
fn tasks_come_after_what_they_depend_on() {
    let mut open_pr = desired(ManagedKind::Task, "a-open-pr", "1");
    open_pr.depends_on = vec!["b-test".to_owned(), "not-here".to_owned()];
    let mut test = desired(ManagedKind::Task, "b-test", "1");
    test.depends_on = vec!["c-scaffold".to_owned()];
    let scaffold = desired(ManagedKind::Task, "c-scaffold", "1");
    let workspace = desired(ManagedKind::Workspace, "z", "1");
    assert_eq!(apply_order(&[open_pr, test, scaffold, workspace]), [3, 2, 1, 0]);
}

#[test]
fn defaults_and_other_managers_are_no_drift() {
    let wanted = json!({"spec": {"a": 1, "list": [1, 2], "gone": null}});
    let live = json!({"spec": {"a": 1, "list": [1, 2], "defaulted": true}, "status": {}});
    assert_eq!(drifted_fields(&wanted, &live), Vec::<String>::new());
    let nothing =
        json!({"metadata": {"labels": {}, "annotations": {"a": null}}, "spec": {"defaulted": null}});
    assert_eq!(drifted_fields(&nothing, &live), Vec::<String>::new());
    let reordered = json!({"spec": {"a": 1, "list": [2, 1]}});
    assert_eq!(drifted_fields(&wanted, &reordered), ["/spec/list"]);
    assert_eq!(drifted_fields(&json!({"metadata": {"labels": {"a/b": "x"}}}), &json!({})), ["/metadata"]);
}
