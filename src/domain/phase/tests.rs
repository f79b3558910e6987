use std::collections::BTreeMap;

use super::*;
use crate::api::run::{Exit, Outcome};

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn finished() -> RunState {
    RunState::Finished(Box::new(Outcome {
        version: 1,
        exit: Exit::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: now(),
        finished_at: now(),
        message: String::new(),
        outputs: Vec::new(),
        results: BTreeMap::new(),
        usage: None,
        sandbox: None,
        agent_version: None,
        network: None,
        log_bytes: 0,
    }))
}

fn facts(phase: Option<TaskPhase>, run: RunState) -> TaskFacts {
    TaskFacts {
        phase,
        deleting: false,
        has_finalizer: true,
        recorded: false,
        completed_at: None,
        ttl_seconds: None,
        dependencies: Dependencies::Met,
        branch_held_by: None,
        missing: Vec::new(),
        refused: None,
        slot_free: true,
        run,
    }
}

/// Every pair of a phase and a state of the run, for a Task that nothing holds back.
#[test]
fn each_pair_of_phase_and_run_has_its_step() {
    use TaskPhase::{Failed, Pending, Running, Succeeded, Waiting};
    let running = || RunState::Running { since: None };
    let interrupted = || RunState::Interrupted { since: None };
    let mark = || Step::MarkRunning { since: None };
    let table = [
        (None, RunState::Absent, Step::Accept, Step::Release),
        (None, RunState::Prepared, Step::Accept, Step::Release),
        (None, running(), mark(), Step::Cancel),
        (None, finished(), Step::Finish, Step::Finish),
        (None, interrupted(), Step::Interrupt, Step::Interrupt),
        (Some(Waiting), RunState::Absent, Step::Accept, Step::Release),
        (Some(Waiting), RunState::Prepared, Step::Accept, Step::Release),
        (Some(Waiting), running(), mark(), Step::Cancel),
        (Some(Waiting), finished(), Step::Finish, Step::Finish),
        (Some(Waiting), interrupted(), Step::Interrupt, Step::Interrupt),
        (Some(Pending), RunState::Absent, Step::Start, Step::Release),
        (Some(Pending), RunState::Prepared, Step::Start, Step::Release),
        (Some(Pending), running(), mark(), Step::Cancel),
        (Some(Pending), finished(), Step::Finish, Step::Finish),
        (Some(Pending), interrupted(), Step::Interrupt, Step::Interrupt),
        (Some(Running), RunState::Absent, Step::Interrupt, Step::Interrupt),
        (Some(Running), RunState::Prepared, Step::Interrupt, Step::Interrupt),
        (Some(Running), running(), Step::Watch, Step::Cancel),
        (Some(Running), finished(), Step::Finish, Step::Finish),
        (Some(Running), interrupted(), Step::Interrupt, Step::Interrupt),
        (Some(Succeeded), RunState::Absent, Step::Record, Step::Record),
        (Some(Succeeded), RunState::Prepared, Step::Record, Step::Record),
        (Some(Succeeded), running(), Step::Record, Step::Cancel),
        (Some(Succeeded), finished(), Step::Record, Step::Record),
        (Some(Succeeded), interrupted(), Step::Record, Step::Record),
        (Some(Failed), RunState::Absent, Step::Record, Step::Record),
        (Some(Failed), RunState::Prepared, Step::Record, Step::Record),
        (Some(Failed), running(), Step::Record, Step::Cancel),
        (Some(Failed), finished(), Step::Record, Step::Record),
        (Some(Failed), interrupted(), Step::Record, Step::Record),
    ];
    for (phase, run, alive, deleting) in table {
        let mut facts = facts(phase, run.clone());
        assert_eq!(decide(&facts, now()), alive, "{phase:?} with {run:?}");
        facts.deleting = true;
        assert_eq!(decide(&facts, now()), deleting, "deleting, {phase:?} with {run:?}");
    }
}

#[test]
fn what_holds_a_task_back_is_named_in_order() {
    let mut facts = facts(None, RunState::Absent);
    facts.slot_free = false;
    assert_eq!(decide(&facts, now()), Step::Wait(Wait::Slot));
    facts.branch_held_by = Some("first".to_owned());
    assert_eq!(decide(&facts, now()), Step::Wait(Wait::Branch("first".to_owned())));
    let refusal = Refusal { reason: Reason::ImageNeedsCluster, message: "no".to_owned() };
    facts.refused = Some(refusal.clone());
    assert_eq!(decide(&facts, now()), Step::Fail(refusal));
    facts.missing = vec![MissingObject::Workspace("w".to_owned())];
    assert_eq!(
        decide(&facts, now()),
        Step::Wait(Wait::Missing(vec![MissingObject::Workspace("w".to_owned())]))
    );
    facts.dependencies = Dependencies::Unfinished("build".to_owned());
    assert_eq!(decide(&facts, now()), Step::Wait(Wait::Dependency("build".to_owned())));
    facts.dependencies = Dependencies::MayComeAnew("build".to_owned());
    assert_eq!(decide(&facts, now()), Step::Wait(Wait::DependencyMayComeAnew("build".to_owned())));
    facts.dependencies = Dependencies::Missing("build".to_owned());
    assert_eq!(decide(&facts, now()), Step::Wait(Wait::DependencyMissing("build".to_owned())));
    facts.dependencies = Dependencies::Failed("build".to_owned());
    assert!(matches!(decide(&facts, now()), Step::Fail(Refusal { reason: Reason::DependencyFailed, .. })));
    facts.dependencies = Dependencies::Cycle(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]);
    assert!(matches!(decide(&facts, now()), Step::Fail(Refusal { reason: Reason::DependencyCycle, .. })));
    facts.has_finalizer = false;
    assert_eq!(decide(&facts, now()), Step::AddFinalizer);
}

#[test]
fn what_an_accepted_task_lost_before_its_start_makes_it_wait() {
    let mut facts = facts(Some(TaskPhase::Pending), RunState::Prepared);
    facts.slot_free = false;
    facts.branch_held_by = Some("other".to_owned());
    assert_eq!(decide(&facts, now()), Step::Start, "its turn it has had");
    facts.missing = vec![MissingObject::Secret("s".to_owned())];
    assert!(matches!(decide(&facts, now()), Step::Wait(Wait::Missing(_))));
    facts.dependencies = Dependencies::Missing("build".to_owned());
    assert_eq!(decide(&facts, now()), Step::Wait(Wait::DependencyMissing("build".to_owned())));
    facts.dependencies = Dependencies::Failed("build".to_owned());
    assert!(matches!(decide(&facts, now()), Step::Fail(_)));
}

#[test]
fn a_task_expires_only_after_its_record_is_stored() {
    let mut facts = facts(Some(TaskPhase::Succeeded), finished());
    facts.ttl_seconds = Some(60);
    facts.completed_at = Some("2026-03-01T11:00:00Z".parse().unwrap());
    assert_eq!(decide(&facts, now()), Step::Record);
    facts.recorded = true;
    assert_eq!(decide(&facts, now()), Step::Expire);
    facts.ttl_seconds = Some(3_601);
    assert_eq!(decide(&facts, now()), Step::Keep(Some(SignedDuration::from_secs(1))));
    facts.ttl_seconds = None;
    assert_eq!(decide(&facts, now()), Step::Keep(None));
}

#[test]
fn an_end_beyond_all_time_is_no_reason_to_fall_over() {
    let mut facts = facts(Some(TaskPhase::Succeeded), finished());
    facts.recorded = true;
    facts.ttl_seconds = Some(i32::MAX);
    facts.completed_at = Some(Timestamp::MAX);
    assert!(matches!(decide(&facts, Timestamp::MIN), Step::Keep(Some(_))));
    facts.completed_at = Some(Timestamp::MIN);
    assert_eq!(decide(&facts, now()), Step::Expire);
}

#[test]
fn a_finalizer_that_somebody_took_off_a_living_task_is_put_back() {
    for phase in [None, Some(TaskPhase::Waiting), Some(TaskPhase::Pending)] {
        let mut facts = facts(phase, RunState::Absent);
        facts.has_finalizer = false;
        assert_eq!(decide(&facts, now()), Step::AddFinalizer, "{phase:?}");
    }
    let mut facts = facts(Some(TaskPhase::Running), RunState::Running { since: None });
    facts.has_finalizer = false;
    assert_eq!(decide(&facts, now()), Step::AddFinalizer);
    facts.run = finished();
    assert_eq!(decide(&facts, now()), Step::Finish, "what has ended is written down first");
}

#[test]
fn a_deleted_task_is_released_when_its_end_is_recorded() {
    let mut facts = facts(Some(TaskPhase::Failed), finished());
    facts.deleting = true;
    facts.recorded = true;
    assert_eq!(decide(&facts, now()), Step::Release);
    facts.has_finalizer = false;
    assert_eq!(decide(&facts, now()), Step::Watch);
}
