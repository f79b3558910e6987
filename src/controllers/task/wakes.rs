//! Who is to be looked at when something changes: Tasks that wait, by what they wait for.
//!
//! Everything here can be lost and is rebuilt by the first looks after a start. A Task takes note of what it is about to
//! look for before it looks, so that what comes in between wakes it; no change makes us go through all Tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use crate::api::kind::Kind;
use crate::api::task::Task;
use crate::domain::admission::{AdmissionQueue, Candidate, Obstacle, TaskName};

/// Something that a Task may wait for, by kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Awaited {
    kind: AwaitedKind,
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AwaitedKind {
    Ours(Kind),
    Secret,
}

impl Awaited {
    /// Returns an object of one of our kinds.
    pub(super) fn object(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind: AwaitedKind::Ours(kind), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Returns a Secret.
    pub(super) fn secret(namespace: &str, name: &str) -> Self {
        Self { kind: AwaitedKind::Secret, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Who waits for what, the queue before the slots, and the way to wake Tasks.
#[derive(Debug)]
pub(super) struct Wakes {
    // Held for map operations only, never across an await.
    state: Mutex<State>,
    // Its other end feeds the controller, which forgets what it is told twice.
    sender: UnboundedSender<ObjectRef<Task>>,
}

#[derive(Debug)]
struct State {
    queue: AdmissionQueue,
    waits: Waits,
    /// The circles of dependencies that were found, for each Task in one.
    circles: HashMap<TaskName, Vec<String>>,
}

/// Who waits for what, in both directions.
#[derive(Debug, Default)]
struct Waits {
    by_awaited: HashMap<Awaited, BTreeSet<TaskName>>,
    by_task: BTreeMap<TaskName, Vec<Awaited>>,
}

impl Wakes {
    /// Returns nothing that waits, before `slots` slots, and the Tasks that are to be woken from then on.
    pub(super) fn new(slots: usize) -> (Self, UnboundedReceiver<ObjectRef<Task>>) {
        let (sender, woken) = unbounded();
        let queue = AdmissionQueue::new(slots);
        let state = State { queue, waits: Waits::default(), circles: HashMap::new() };
        (Self { state: Mutex::new(state), sender }, woken)
    }

    /// Takes note that the Task looks for these from now on, beside what it looked for before.
    pub(super) fn look_for(&self, task: &TaskName, awaited: impl IntoIterator<Item = Awaited>) {
        let waits = &mut self.state().waits;
        for awaited in awaited {
            if waits.by_awaited.entry(awaited.clone()).or_default().insert(task.clone()) {
                waits.by_task.entry(task.clone()).or_default().push(awaited);
            }
        }
    }

    /// Takes note that the Task waits for nothing any more.
    pub(super) fn look_for_nothing(&self, task: &TaskName) {
        let mut state = self.state();
        state.waits.forget(task);
        state.circles.remove(task);
    }

    /// Returns the Tasks that wait for this.
    pub(super) fn waiting_for(&self, awaited: &Awaited) -> Vec<ObjectRef<Task>> {
        let state = self.state();
        state.waits.by_awaited.get(awaited).into_iter().flatten().map(reference).collect()
    }

    /// Wakes the Tasks that wait for this.
    pub(super) fn wake_waiting_for(&self, awaited: &Awaited) {
        self.wake(self.waiting_for(awaited));
    }

    /// Wakes all Tasks that wait for another Task or object: changes may have been missed.
    pub(super) fn wake_all(&self) {
        let all: Vec<_> = self.state().waits.by_task.keys().map(reference).collect();
        self.wake(all);
    }

    /// Asks for a start, and wakes whom else the answer concerns; see [`AdmissionQueue::ask`].
    pub(super) fn ask(&self, candidate: Candidate) -> Result<(), Obstacle> {
        let (answer, concerned) = self.state().queue.ask(candidate);
        self.wake(concerned.iter().map(reference).collect());
        answer
    }

    /// Returns whether the Task with this uid is admitted.
    pub(super) fn is_admitted(&self, uid: &str) -> bool {
        self.state().queue.is_admitted(uid)
    }

    /// Counts a Task as admitted; see [`AdmissionQueue::adopt`].
    pub(super) fn adopt(&self, candidate: Candidate) {
        self.state().queue.adopt(candidate);
    }

    /// Lets a Task wait in the queue; see [`AdmissionQueue::enter`].
    pub(super) fn enter(&self, candidate: Candidate) {
        self.state().queue.enter(candidate);
    }

    /// Takes a Task out of the queue and wakes whom that concerns.
    pub(super) fn leave(&self, uid: &str) {
        let concerned = self.state().queue.leave(uid);
        self.wake(concerned.iter().map(reference).collect());
    }

    /// Returns the Task that was admitted or waits in the queue under this uid.
    pub(super) fn task_of(&self, uid: &str) -> Option<ObjectRef<Task>> {
        self.state().queue.task_of(uid).map(reference)
    }

    /// Returns the uids of all Tasks in the queue.
    pub(super) fn queued(&self) -> Vec<String> {
        self.state().queue.uids()
    }

    /// Takes note of a circle of dependencies in a namespace, and wakes the Tasks in it.
    pub(super) fn found_circle(&self, namespace: &str, circle: &[&str]) {
        for (index, name) in circle.iter().enumerate() {
            let task = TaskName { namespace: namespace.to_owned(), name: (*name).to_owned() };
            let way = circle.iter().cycle().skip(index).take(circle.len() + 1);
            let way: Vec<String> = way.map(|name| (*name).to_owned()).collect();
            let is_new = self.state().circles.insert(task.clone(), way.clone()) != Some(way);
            if is_new {
                self.wake(vec![reference(&task)]);
            }
        }
    }

    /// Returns the names along which the Task's dependencies lead back to it.
    pub(super) fn circle_of(&self, task: &TaskName) -> Option<Vec<String>> {
        self.state().circles.get(task).cloned()
    }

    fn wake(&self, tasks: Vec<ObjectRef<Task>>) {
        for task in tasks {
            // It fails only when the controller ends.
            self.sender.unbounded_send(task).ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    fn forget(&mut self, task: &TaskName) {
        for awaited in self.by_task.remove(task).into_iter().flatten() {
            if let Some(tasks) = self.by_awaited.get_mut(&awaited) {
                tasks.remove(task);
                if tasks.is_empty() {
                    self.by_awaited.remove(&awaited);
                }
            }
        }
    }
}

/// Returns the name of a Task.
pub(super) fn name_of(task: &Task) -> TaskName {
    TaskName { namespace: task.namespace().unwrap_or_default(), name: task.name_any() }
}

fn reference(task: &TaskName) -> ObjectRef<Task> {
    ObjectRef::new(&task.name).within(&task.namespace)
}
