//! Which Task may start next: slots, branches, and turns.
//!
//! A Task stands in this queue once nothing else holds it back; one that waits for a dependency or a Secret is not in
//! it, and so never stands in the way of others. The rules:
//!
//! - No more Tasks are admitted than there are slots.
//! - Of the Tasks with the same branch of the same repository in a namespace one is admitted at a time, in the order in
//!   which they were created.
//! - A free slot goes to the lane that was served longest ago, and in it to the oldest Task. A lane is a spawner of a
//!   namespace; Tasks that no spawner made share the lane of their namespace. So a spawner that makes a thousand Tasks
//!   delays another's only Task by one run.
//!
//! Every step costs the logarithm of the number of Tasks that wait, because a thousand of them come at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

/// How many Tasks that wait for a branch are told when it changes hands; the others learn it by their next look.
const TOLD: usize = 32;

/// Names a Task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A branch of a repository, within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchKey {
    /// Namespace of the Task.
    pub namespace: String,
    /// The repository, by a name that is the same for all ways of writing its URL.
    pub repository: String,
    /// Name of the branch.
    pub branch: String,
}

/// A Task that nothing but others holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub task: TaskName,
    /// The spawner that made it, by the label that it carries.
    pub spawner: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// The branch that it works on.
    pub branch: Option<BranchKey>,
}

/// What stands in the way of a Task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The Task of this name works on the same branch, or is to work on it first.
    Branch(String),
    /// All slots are taken, or others have their turn first.
    Slots,
}

/// Orders Tasks by their creation, which is known to the second, and by their coming into the queue.
type Age = (Timestamp, u64);

/// Tasks that are admitted, and Tasks that wait for it.
#[derive(Debug, Default)]
pub struct AdmissionQueue {
    slots: usize,
    /// By uid.
    admitted: HashMap<String, Place>,
    /// By uid.
    waiting: HashMap<String, Place>,
    /// Who was admitted to a branch: one Task, or more where an earlier process left it so.
    holders: HashMap<BranchKey, BTreeMap<Age, String>>,
    /// Who waits for a branch, oldest first.
    queues: HashMap<BranchKey, BTreeMap<Age, String>>,
    lanes: HashMap<LaneName, Lane>,
    /// The lanes in which somebody could start: served longest ago first, then by the age of their oldest Task.
    turns: BTreeSet<(u64, Age, LaneName)>,
    last_turn: u64,
    last_arrival: u64,
}

#[derive(Debug)]
struct Place {
    candidate: Candidate,
    age: Age,
}

/// Namespace and spawner.
type LaneName = (String, Option<String>);

#[derive(Debug, Default)]
struct Lane {
    /// Those of its Tasks that only a slot holds back, oldest first, by uid.
    ready: BTreeMap<Age, String>,
    /// When it was served last; a greater number is later.
    served: u64,
    /// How many of its Tasks are admitted.
    admitted: usize,
}

impl AdmissionQueue {
    /// Returns an empty queue before `slots` slots.
    pub fn new(slots: usize) -> Self {
        Self { slots, ..Self::default() }
    }

    /// Asks for a start. A Task that was admitted before stays admitted; one that is refused waits from now on. Returns
    /// the answer, and whom else it concerns: others that were found waiting may come first.
    pub fn ask(&mut self, candidate: Candidate) -> (Result<(), Obstacle>, Vec<TaskName>) {
        let uid = candidate.uid.clone();
        if self.admitted.contains_key(&uid) {
            return (Ok(()), Vec::new());
        }
        let own = candidate.task.clone();
        self.enter(candidate);
        let mut concerned = self.admit_ready();
        concerned.retain(|task| *task != own);
        (self.waiting.get(&uid).map_or(Ok(()), |place| Err(self.obstacle(place))), concerned)
    }

    /// Lets a Task wait that was found waiting; nobody is admitted by this.
    pub fn enter(&mut self, candidate: Candidate) {
        if self.admitted.contains_key(&candidate.uid) {
            return;
        }
        let age = match self.waiting.get(&candidate.uid) {
            Some(place) if place.candidate == candidate => return,
            Some(place) => place.age,
            None => self.next_age(candidate.created),
        };
        self.remove_waiting(&candidate.uid.clone());
        let (uid, branch) = (candidate.uid.clone(), candidate.branch.clone());
        self.waiting.insert(uid.clone(), Place { candidate, age });
        let Some(branch) = branch else { return self.ready(&uid) };
        let before = self.head(&branch);
        self.queues.entry(branch.clone()).or_default().insert(age, uid.clone());
        let head = self.head(&branch);
        if head.as_deref() == Some(uid.as_str()) {
            if let Some(before) = before {
                self.not_ready(&before);
            }
            self.ready(&uid);
        }
    }

    /// Counts a Task as admitted that was accepted before this queue began, whatever stands in the way.
    pub fn adopt(&mut self, candidate: Candidate) {
        if self.admitted.contains_key(&candidate.uid) {
            return;
        }
        self.remove_waiting(&candidate.uid);
        let age = self.next_age(candidate.created);
        if let Some(branch) = &candidate.branch
            && let Some(head) = self.head(branch)
        {
            self.not_ready(&head);
        }
        self.hold(Place { candidate, age }, None);
    }

    /// Takes a Task out, whether it waits or was admitted; returns whom that concerns: those who are admitted by it, and
    /// those who now wait for another on their branch.
    pub fn leave(&mut self, uid: &str) -> Vec<TaskName> {
        let branch = match self.admitted.remove(uid) {
            Some(place) => {
                self.change_lane(&lane_of(&place.candidate), |lane| lane.admitted -= 1);
                let branch = place.candidate.branch;
                if let Some(branch) = &branch {
                    self.let_go(branch, place.age);
                }
                branch
            }
            None => self.remove_waiting(uid),
        };
        let mut concerned = self.admit_ready();
        let queue = branch.and_then(|branch| self.queues.get(&branch));
        let others = queue.into_iter().flat_map(BTreeMap::values).take(TOLD);
        concerned.extend(others.filter_map(|uid| Some(self.waiting.get(uid)?.candidate.task.clone())));
        concerned
    }

    /// Returns whether the Task with this uid is admitted.
    pub fn is_admitted(&self, uid: &str) -> bool {
        self.admitted.contains_key(uid)
    }

    /// Returns the name of the Task with this uid, if it is admitted or waits.
    pub fn task_of(&self, uid: &str) -> Option<&TaskName> {
        let place = self.admitted.get(uid).or_else(|| self.waiting.get(uid));
        place.map(|place| &place.candidate.task)
    }

    /// Returns the uids of all Tasks that are admitted or wait, in no order.
    pub fn uids(&self) -> Vec<String> {
        self.admitted.keys().chain(self.waiting.keys()).cloned().collect()
    }

    /// Returns how many Tasks are admitted.
    pub fn admitted(&self) -> usize {
        self.admitted.len()
    }

    /// Returns how many Tasks wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn admit_ready(&mut self) -> Vec<TaskName> {
        let mut names = Vec::new();
        while self.admitted.len() < self.slots {
            let Some((_, age, name)) = self.turns.first().cloned() else { break };
            let Some(uid) = self.lanes.get(&name).and_then(|lane| lane.ready.get(&age)).cloned() else {
                break;
            };
            self.not_ready(&uid);
            let Some(place) = self.waiting.remove(&uid) else { break };
            if let Some(branch) = &place.candidate.branch {
                remove_aged(&mut self.queues, branch, place.age);
            }
            names.push(place.candidate.task.clone());
            self.last_turn += 1;
            self.hold(place, Some(self.last_turn));
        }
        names
    }

    fn hold(&mut self, place: Place, turn: Option<u64>) {
        self.change_lane(&lane_of(&place.candidate), |lane| {
            lane.admitted += 1;
            lane.served = turn.unwrap_or(lane.served);
        });
        let uid = place.candidate.uid.clone();
        if let Some(branch) = &place.candidate.branch {
            self.holders.entry(branch.clone()).or_default().insert(place.age, uid.clone());
        }
        self.admitted.insert(uid, place);
    }

    fn let_go(&mut self, branch: &BranchKey, age: Age) {
        remove_aged(&mut self.holders, branch, age);
        if let Some(head) = self.head(branch) {
            self.ready(&head);
        }
    }

    fn remove_waiting(&mut self, uid: &str) -> Option<BranchKey> {
        self.not_ready(uid);
        let place = self.waiting.remove(uid)?;
        let branch = place.candidate.branch?;
        let was_head = self.head(&branch).as_deref() == Some(uid);
        remove_aged(&mut self.queues, &branch, place.age);
        if was_head && let Some(head) = self.head(&branch) {
            self.ready(&head);
        }
        Some(branch)
    }

    /// Returns who is to work on the branch next, if nobody does.
    fn head(&self, branch: &BranchKey) -> Option<String> {
        if self.holders.contains_key(branch) {
            return None;
        }
        self.queues.get(branch)?.values().next().cloned()
    }

    fn obstacle(&self, place: &Place) -> Obstacle {
        let Some(branch) = &place.candidate.branch else { return Obstacle::Slots };
        let name = |place: Option<&Place>| place.map(|place| place.candidate.task.name.clone());
        let holder = self.holders.get(branch).and_then(|holders| holders.values().next());
        if let Some(holder) = name(holder.and_then(|uid| self.admitted.get(uid))) {
            return Obstacle::Branch(holder);
        }
        // Whoever comes right before waits for a slot, or for the one before.
        let before = self.queues.get(branch).and_then(|queue| queue.range(..place.age).next_back());
        name(before.and_then(|(_, uid)| self.waiting.get(uid))).map_or(Obstacle::Slots, Obstacle::Branch)
    }

    fn next_age(&mut self, created: Timestamp) -> Age {
        self.last_arrival += 1;
        (created, self.last_arrival)
    }

    fn ready(&mut self, uid: &str) {
        let Some(place) = self.waiting.get(uid) else { return };
        let (lane, age, uid) = (lane_of(&place.candidate), place.age, uid.to_owned());
        self.change_lane(&lane, |lane| drop(lane.ready.insert(age, uid)));
    }

    fn not_ready(&mut self, uid: &str) {
        let Some(place) = self.waiting.get(uid) else { return };
        let (lane, age) = (lane_of(&place.candidate), place.age);
        self.change_lane(&lane, |lane| drop(lane.ready.remove(&age)));
    }

    /// Changes a lane, which exists as long as somebody is in it, and keeps the turns in step.
    fn change_lane(&mut self, name: &LaneName, change: impl FnOnce(&mut Lane)) {
        let mut lane = self.lanes.remove(name).unwrap_or_default();
        if let Some(&age) = lane.ready.keys().next() {
            self.turns.remove(&(lane.served, age, name.clone()));
        }
        change(&mut lane);
        if let Some(&age) = lane.ready.keys().next() {
            self.turns.insert((lane.served, age, name.clone()));
        }
        if lane.admitted > 0 || !lane.ready.is_empty() {
            self.lanes.insert(name.clone(), lane);
        }
    }
}

fn lane_of(candidate: &Candidate) -> LaneName {
    (candidate.task.namespace.clone(), candidate.spawner.clone())
}

fn remove_aged(of: &mut HashMap<BranchKey, BTreeMap<Age, String>>, branch: &BranchKey, age: Age) {
    if let Some(aged) = of.get_mut(branch) {
        aged.remove(&age);
        if aged.is_empty() {
            of.remove(branch);
        }
    }
}

#[cfg(test)]
mod tests;
