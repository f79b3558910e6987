use std::collections::BTreeMap;

use super::*;

fn task(name: &str, spawner: Option<&str>, created: i64, branch: Option<&str>) -> Candidate {
    Candidate {
        uid: format!("uid-{name}"),
        task: TaskName { namespace: "n".to_owned(), name: name.to_owned() },
        spawner: spawner.map(str::to_owned),
        created: Timestamp::from_second(created).unwrap(),
        branch: branch.map(|branch| BranchKey {
            namespace: "n".to_owned(),
            repository: "r".to_owned(),
            branch: branch.to_owned(),
        }),
    }
}

fn ask(queue: &mut AdmissionQueue, candidate: Candidate) -> Result<(), Obstacle> {
    queue.ask(candidate).0
}

fn leave(queue: &mut AdmissionQueue, name: &str) -> Vec<String> {
    queue.leave(&format!("uid-{name}")).into_iter().map(|task| task.name).collect()
}

fn behind(name: &str) -> Result<(), Obstacle> {
    Err(Obstacle::Branch(name.to_owned()))
}

const NO_SLOT: Result<(), Obstacle> = Err(Obstacle::Slots);

#[test]
fn no_more_are_admitted_than_there_are_slots() {
    let mut queue = AdmissionQueue::new(1);
    queue.adopt(task("a", None, 1, None));
    queue.adopt(task("b", None, 1, None));
    assert_eq!(ask(&mut queue, task("c", None, 1, None)), NO_SLOT);
    assert_eq!(ask(&mut queue, task("a", None, 1, None)), Ok(()), "what was accepted stays accepted");
    assert_eq!(leave(&mut queue, "a"), Vec::<String>::new());
    assert_eq!(leave(&mut queue, "b"), ["c"]);
    assert_eq!(ask(&mut queue, task("c", None, 1, None)), Ok(()));
    assert_eq!(queue.admitted(), 1);
}

#[test]
fn without_a_slot_nobody_is_admitted() {
    let mut queue = AdmissionQueue::new(0);
    assert_eq!(ask(&mut queue, task("a", None, 1, Some("main"))), NO_SLOT);
    assert_eq!(leave(&mut queue, "a"), Vec::<String>::new());
    assert_eq!((queue.admitted(), queue.waiting()), (0, 0));
}

#[test]
fn a_branch_goes_from_one_to_the_next_in_order_of_creation() {
    let mut queue = AdmissionQueue::new(10);
    assert_eq!(ask(&mut queue, task("a", None, 5, Some("main"))), Ok(()));
    assert_eq!(ask(&mut queue, task("c", None, 7, Some("main"))), behind("a"));
    assert_eq!(ask(&mut queue, task("b", None, 6, Some("main"))), behind("a"));
    assert_eq!(ask(&mut queue, task("other", None, 8, Some("other"))), Ok(()));
    assert_eq!(leave(&mut queue, "a"), ["b", "c"], "b is admitted, and c learns that it waits for b");
    assert_eq!(ask(&mut queue, task("c", None, 7, Some("main"))), behind("b"));
    assert_eq!(leave(&mut queue, "b"), ["c"]);
    assert_eq!(leave(&mut queue, "c"), Vec::<String>::new());
}

#[test]
fn branches_of_other_namespaces_and_repositories_are_others() {
    let mut queue = AdmissionQueue::new(10);
    let mut elsewhere = task("b", None, 1, Some("main"));
    elsewhere.branch.as_mut().unwrap().namespace = "other".to_owned();
    let mut another = task("c", None, 1, Some("main"));
    another.branch.as_mut().unwrap().repository = "other".to_owned();
    assert_eq!(ask(&mut queue, task("a", None, 1, Some("main"))), Ok(()));
    assert_eq!(ask(&mut queue, elsewhere), Ok(()));
    assert_eq!(ask(&mut queue, another), Ok(()));
}

#[test]
fn who_waits_for_a_branch_takes_no_slot_and_no_turn() {
    let mut queue = AdmissionQueue::new(2);
    assert_eq!(ask(&mut queue, task("a", Some("s"), 1, Some("main"))), Ok(()));
    assert_eq!(ask(&mut queue, task("b", Some("s"), 2, Some("main"))), behind("a"));
    assert_eq!(ask(&mut queue, task("c", Some("s"), 3, Some("main"))), behind("a"));
    assert_eq!(ask(&mut queue, task("d", Some("s"), 4, None)), Ok(()));
    assert_eq!(ask(&mut queue, task("e", Some("s"), 5, None)), NO_SLOT);
    assert_eq!(leave(&mut queue, "d"), ["e"]);
    assert_eq!(leave(&mut queue, "a"), ["b", "c"]);
}

#[test]
fn an_older_task_that_comes_late_is_served_first() {
    let mut queue = AdmissionQueue::new(1);
    assert_eq!(ask(&mut queue, task("busy", Some("s"), 1, None)), Ok(()));
    assert_eq!(ask(&mut queue, task("young", Some("s"), 9, Some("main"))), NO_SLOT);
    assert_eq!(ask(&mut queue, task("old", Some("s"), 3, Some("main"))), NO_SLOT);
    assert_eq!(ask(&mut queue, task("young", Some("s"), 9, Some("main"))), behind("old"));
    assert_eq!(leave(&mut queue, "busy"), ["old"]);
    assert_eq!(leave(&mut queue, "old"), ["young"]);
}

#[test]
fn a_flood_delays_another_spawner_by_one_run() {
    let mut queue = AdmissionQueue::new(2);
    for number in 0..100 {
        drop(ask(&mut queue, task(&format!("flood-{number}"), Some("flood"), 1, None)));
    }
    assert_eq!(ask(&mut queue, task("small", Some("small"), 60, None)), NO_SLOT);
    assert_eq!(ask(&mut queue, task("by-hand", None, 61, None)), NO_SLOT);
    assert_eq!(leave(&mut queue, "flood-0"), ["small"]);
    assert_eq!(leave(&mut queue, "flood-1"), ["by-hand"]);
    assert_eq!(ask(&mut queue, task("small-2", Some("small"), 62, None)), NO_SLOT);
    assert_eq!(leave(&mut queue, "small"), ["flood-2"], "the flood was served longest ago");
    assert_eq!(leave(&mut queue, "by-hand"), ["small-2"]);
    assert_eq!(leave(&mut queue, "small-2"), ["flood-3"], "and in order within");
}

#[test]
fn who_leaves_while_waiting_holds_nobody_up() {
    let mut queue = AdmissionQueue::new(1);
    assert_eq!(ask(&mut queue, task("a", None, 1, Some("main"))), Ok(()));
    assert_eq!(ask(&mut queue, task("b", None, 2, Some("main"))), behind("a"));
    assert_eq!(ask(&mut queue, task("c", None, 3, Some("main"))), behind("a"));
    assert_eq!(leave(&mut queue, "b"), ["c"], "c learns it");
    assert_eq!(leave(&mut queue, "a"), ["c"]);
    assert_eq!(leave(&mut queue, "unknown"), Vec::<String>::new());
}

#[test]
fn what_was_found_waiting_is_admitted_by_the_next_ask() {
    let mut queue = AdmissionQueue::new(1);
    queue.enter(task("b", None, 2, None));
    queue.enter(task("a", None, 1, None));
    assert_eq!(queue.admitted(), 0);
    let (answer, concerned) = queue.ask(task("b", None, 2, None));
    assert_eq!(answer, NO_SLOT);
    assert_eq!(concerned, [task("a", None, 1, None).task], "the older one has it, and learns it");
    assert!(queue.is_admitted("uid-a"));
}

#[test]
fn a_task_that_changes_its_branch_keeps_its_place_in_time() {
    let mut queue = AdmissionQueue::new(1);
    assert_eq!(ask(&mut queue, task("busy", None, 1, None)), Ok(()));
    assert_eq!(ask(&mut queue, task("a", None, 2, Some("main"))), NO_SLOT);
    assert_eq!(ask(&mut queue, task("b", None, 2, None)), NO_SLOT);
    assert_eq!(ask(&mut queue, task("a", None, 2, Some("moved"))), NO_SLOT);
    assert_eq!(leave(&mut queue, "busy"), ["a"]);
}

/// Random steps against a model that looks at everything each time.
#[test]
fn random_steps_keep_every_rule() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let slots = random.usize(1..4);
        let mut queue = AdmissionQueue::new(slots);
        let mut inside: BTreeMap<String, Candidate> = BTreeMap::new();
        for step in 0..200 {
            let number = random.usize(0..12);
            let name = format!("t{number}");
            if random.bool() {
                let spawner = [None, Some("s"), Some("t")][number % 3];
                let branch = [None, Some("x"), Some("y"), Some("x")][number % 4];
                let candidate = task(&name, spawner, random.i64(0..3), branch);
                let candidate = inside.get(&candidate.uid).cloned().unwrap_or(candidate);
                drop(ask(&mut queue, candidate.clone()));
                inside.insert(candidate.uid.clone(), candidate);
            } else {
                leave(&mut queue, &name);
                inside.remove(&format!("uid-{name}"));
            }
            check(&queue, &inside, slots, &format!("round {round}, step {step}"));
        }
        for uid in inside.into_keys() {
            queue.leave(&uid);
        }
        assert!(queue.lanes.is_empty() && queue.turns.is_empty(), "nothing is remembered");
        assert!(queue.queues.is_empty() && queue.holders.is_empty(), "nothing is remembered");
    }
}

fn check(queue: &AdmissionQueue, inside: &BTreeMap<String, Candidate>, slots: usize, place: &str) {
    let (admitted, waiting): (Vec<_>, Vec<_>) =
        inside.values().partition(|candidate| queue.is_admitted(&candidate.uid));
    assert_eq!((queue.admitted(), queue.waiting()), (admitted.len(), waiting.len()), "{place}");
    assert!(admitted.len() <= slots, "{place}");
    let branch_is_held =
        |branch: &Option<BranchKey>| branch.is_some() && admitted.iter().any(|other| other.branch == *branch);
    for (index, one) in admitted.iter().enumerate() {
        let others = admitted.iter().skip(index + 1);
        assert!(others.clone().all(|other| one.branch.is_none() || other.branch != one.branch), "{place}");
    }
    // Nobody waits who could start: a slot is free only while every branch that is asked for is taken.
    if admitted.len() < slots {
        assert!(waiting.iter().all(|candidate| branch_is_held(&candidate.branch)), "{place}");
    }
}

#[test]
fn a_thousand_times_more_tasks_cost_about_a_thousand_times_more() {
    let steps = |count: usize| {
        let mut queue = AdmissionQueue::new(4);
        for number in 0..count {
            drop(ask(
                &mut queue,
                task(&format!("t{number}"), Some("s"), 1, Some(&format!("b{}", number % 7))),
            ));
        }
        let mut told = 0;
        while let Some(uid) = queue.admitted.keys().next().cloned() {
            told += queue.leave(&uid).len();
        }
        told
    };
    // Each end tells at most the one that is admitted and a bounded number of others.
    assert!(steps(5_000) <= 5_000 * (1 + TOLD));
}
