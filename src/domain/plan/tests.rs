use serde_json::json;

use super::*;

const OWNER: &str = "repository-uid";

#[derive(Default)]
struct FakeCluster {
    objects: BTreeMap<ObjectKey, Arc<Observed>>,
    runs: BTreeMap<(String, String), RequestEnd>,
    expired_well: Vec<String>,
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

    fn ended(&self, task_name: &str, spec_digest: &str) -> Option<RequestEnd> {
        self.runs.get(&(task_name.to_owned(), spec_digest.to_owned())).copied()
    }

    fn expired_well(&self, task_name: &str) -> bool {
        self.expired_well.iter().any(|name| name == task_name)
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
        ended: None,
        deleting: false,
        suspended_by_hand: false,
        content: 0,
        drift: Arc::new(Drift::of(of.manifest.clone())),
    }
}

fn cluster(objects: impl IntoIterator<Item = (ObjectKey, Observed)>) -> FakeCluster {
    let objects = objects.into_iter().map(|(key, observed)| (key, Arc::new(observed)));
    FakeCluster { objects: objects.collect(), ..FakeCluster::default() }
}

const OPEN: PruneGuard = PruneGuard { enabled: true, limit_percent: 50, confirmed: false, held_of: None };

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
    expired.runs.insert(("once".to_owned(), "1".to_owned()), RequestEnd::Failed);
    assert_eq!(decide(&expired).actions, [], "a record of the run is enough, the object may be gone");

    let there = cluster([(task.key.clone(), observed(&task))]);
    assert_eq!(decide(&there).actions, []);

    let mut running = observed(&task);
    running.spec_digest = Some("0".to_owned());
    let older_runs = cluster([(task.key.clone(), running.clone())]);
    assert_eq!(decide(&older_runs).notices, [Notice::WaitsForOlderRun(task.key.clone())]);
    assert_eq!(decide(&older_runs).actions, []);

    running.ended = Some(RequestEnd::Failed);
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
fn what_was_held_back_stays_so_however_much_comes_beside_it() {
    let all: Vec<Desired> =
        (0..16).map(|number| desired(ManagedKind::Workspace, &format!("w{number}"), "1")).collect();
    // Ten were owned, six of them left, and six others came with the same commit.
    let cluster = cluster(all.iter().map(|object| (object.key.clone(), observed(object))));
    let prunes = |wanted: &[Desired], guard: PruneGuard| {
        let plan = plan(wanted, &cluster, OWNER, guard);
        (plan.actions.len(), plan.held_prunes.len())
    };
    let held = PruneGuard { held_of: Some(10), ..OPEN };
    assert_eq!(prunes(&all[6..], held), (0, 6));
    assert_eq!(prunes(&all[6..], PruneGuard { confirmed: true, ..held }), (6, 0));
    assert_eq!(prunes(&all[5..], held), (5, 0), "one came back, and half is within the limit");
    assert_eq!(prunes(&all, held), (0, 0));
    let all_of_them = PruneGuard { limit_percent: 100, held_of: Some(6), ..OPEN };
    assert_eq!(prunes(&all[6..], all_of_them), (0, 6), "all that there was always waits");
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

fn chain(digests: [&str; 3]) -> [Desired; 3] {
    let task = |name: &str, digest: &str, needs: &[&str]| Desired {
        depends_on: needs.iter().map(|name| (*name).to_owned()).collect(),
        ..desired(ManagedKind::Task, name, digest)
    };
    [task("a", digests[0], &[]), task("b", digests[1], &["a"]), task("c", digests[2], &["b"])]
}

/// Plans the chain `a`, `b`, `c`, and says what is done about each.
fn planned(chain: &[Desired; 3], cluster: &FakeCluster) -> Vec<String> {
    let plan = plan(chain, cluster, OWNER, OPEN);
    let name = |index: &usize| &chain[*index].key.name;
    let actions = plan.actions.iter().map(|action| match action {
        Action::Run { desired } => format!("{} runs", name(desired)),
        Action::RunAgain { desired, .. } => format!("{} goes", name(desired)),
        other => panic!("unexpected {other:?}"),
    });
    let notices = plan.notices.iter().map(|notice| match notice {
        Notice::WaitsForOlderRun(key) => format!("{} goes on", key.name),
        Notice::BeingDeleted(key) => format!("{} is going", key.name),
        Notice::WaitsForDependency { task, dependency } => format!("{} waits for {dependency}", task.name),
        other => panic!("unexpected {other:?}"),
    });
    let mut said: Vec<String> = actions.chain(notices).collect();
    said.sort();
    said
}

#[test]
fn a_task_is_not_made_while_what_it_depends_on_is_of_an_older_request() {
    let new = chain(["2", "2", "2"]);
    let older = |of: &Desired, ended: Option<RequestEnd>| {
        (of.key.clone(), Observed { ended, spec_digest: Some("1".to_owned()), ..observed(of) })
    };
    let succeeded = Some(RequestEnd::Succeeded);
    // The commit changes `a` and adds the others.
    let going_on = cluster([older(&new[0], None)]);
    assert_eq!(planned(&new, &going_on), ["a goes on", "b waits for a", "c waits for b"]);
    let ended = cluster([older(&new[0], succeeded)]);
    assert_eq!(planned(&new, &ended), ["a goes", "b waits for a", "c waits for b"]);
    let (key, mut going) = older(&new[0], succeeded);
    going.deleting = true;
    assert_eq!(planned(&new, &cluster([(key, going)])), ["a is going", "b waits for a", "c waits for b"]);
    assert_eq!(planned(&new, &FakeCluster::default()), ["a runs", "b runs", "c runs"]);
    // The commit changes all of them. What has ended may go together, and what follows a run that goes on stays.
    let all_ended = cluster(new.iter().map(|task| older(task, succeeded)));
    assert_eq!(planned(&new, &all_ended), ["a goes", "b goes", "c goes"]);
    let first_goes_on = cluster([older(&new[0], None), older(&new[1], succeeded), older(&new[2], succeeded)]);
    assert_eq!(planned(&new, &first_goes_on), ["a goes on", "b waits for a", "c waits for b"]);
    let last_goes_on = cluster([older(&new[0], succeeded), older(&new[1], succeeded), older(&new[2], None)]);
    assert_eq!(planned(&new, &last_goes_on), ["a goes", "b goes", "c goes on"]);
    // What does not change has been carried out for what was there then.
    let first_changed = chain(["2", "1", "1"]);
    let rest = |of: &Desired| (of.key.clone(), Observed { ended: succeeded, ..observed(of) });
    let known = cluster([older(&new[0], None), rest(&first_changed[1]), rest(&first_changed[2])]);
    assert_eq!(planned(&first_changed, &known), ["a goes on"]);
}

#[test]
fn what_failed_with_its_dependency_runs_once_that_is_mended() {
    let failed = chain(["1", "1", "1"]);
    let mended = chain(["2", "1", "1"]);
    let with = |of: &Desired, ended: Option<RequestEnd>| (of.key.clone(), Observed { ended, ..observed(of) });
    let spoiled = Some(RequestEnd::DependencyFailed);
    let objects =
        [with(&failed[0], Some(RequestEnd::Failed)), with(&failed[1], spoiled), with(&failed[2], spoiled)];
    let mut cluster = cluster(objects);
    for task in &failed[1..] {
        let request = (task.key.name.clone(), task.spec_digest.clone());
        cluster.runs.insert(request, RequestEnd::DependencyFailed);
    }
    assert_eq!(planned(&failed, &cluster), [""; 0], "nothing changed, so nothing would go better");
    assert_eq!(planned(&mended, &cluster), ["a goes", "b goes", "c goes"]);
    cluster.objects.clear();
    assert_eq!(planned(&mended, &cluster), ["a runs", "b runs", "c runs"]);
    // A pass that was cut short is taken up.
    for ended in [None, Some(RequestEnd::Succeeded)] {
        cluster.objects.extend([with(&mended[0], ended)].map(|(key, task)| (key, Arc::new(task))));
        assert_eq!(planned(&mended, &cluster), ["b runs", "c runs"]);
    }
    cluster
        .objects
        .extend([with(&mended[0], Some(RequestEnd::Failed))].map(|(key, task)| (key, Arc::new(task))));
    assert_eq!(planned(&mended, &cluster), [""; 0], "it failed again, and they did already");
    // By the time they are looked at, what they depend on may have expired.
    cluster.objects.clear();
    cluster.runs.insert(("a".to_owned(), "2".to_owned()), RequestEnd::Succeeded);
    assert_eq!(planned(&mended, &cluster), [""; 0], "it was deleted, and nobody makes it anew");
    cluster.expired_well = vec!["a".to_owned()];
    assert_eq!(planned(&mended, &cluster), ["b runs", "c runs"]);
    // What ran never runs a second time.
    cluster.runs.insert(("b".to_owned(), "1".to_owned()), RequestEnd::Failed);
    assert_eq!(planned(&mended, &cluster), [""; 0]);
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
