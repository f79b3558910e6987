//! Dependencies between Tasks: order, circles, readiness.
//!
//! Graphs come from repositories and clusters of other people, so nothing here recurses: a chain of ten thousand Tasks
//! must not end in a stack overflow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who depends on whom, by name. A dependency that has no entry of its own is outside the graph and ends a path.
pub type Dependencies<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Returns one shortest circle of every group of Tasks that wait for each other.
///
/// A circle begins with its smallest name, each name depends on the next, and the last on the first; a Task that
/// depends on itself is a circle of one. Circles come in order of their first name.
pub fn cycles<'a>(dependencies: &Dependencies<'a>) -> Vec<Vec<&'a str>> {
    let mut cycles = Vec::new();
    for group in groups(dependencies) {
        let members: BTreeSet<&str> = group.iter().copied().collect();
        let Some(&first) = members.first() else { continue };
        if let Some(cycle) = shortest_way_back(first, |name| {
            let next = dependencies.get(name).map_or(&[][..], Vec::as_slice);
            next.iter().copied().filter(|next| members.contains(next)).collect()
        }) {
            cycles.push(cycle);
        }
    }
    cycles.sort_unstable();
    cycles
}

/// Returns a shortest circle through `start`, which `dependencies_of` leads around, or nothing.
///
/// `dependencies_of` is asked at most once for each name.
pub fn cycle_through<'a>(
    start: &'a str,
    dependencies_of: impl FnMut(&'a str) -> Vec<&'a str>,
) -> Option<Vec<&'a str>> {
    shortest_way_back(start, dependencies_of)
}

/// Returns all names so that every one comes after those that it depends on; equal ones in order of their names.
///
/// # Errors
/// Returns the names that are in a circle or behind one, in order.
pub fn order<'a>(dependencies: &Dependencies<'a>) -> Result<Vec<&'a str>, Vec<&'a str>> {
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for (&name, needs) in dependencies {
        let inside: BTreeSet<&str> =
            needs.iter().copied().filter(|need| dependencies.contains_key(need)).collect();
        waiting.insert(name, inside.len());
        for need in inside {
            dependents.entry(need).or_default().push(name);
        }
    }
    let mut ready: BTreeSet<&'a str> =
        dependencies.keys().copied().filter(|name| waiting.get(name) == Some(&0)).collect();
    let mut order = Vec::with_capacity(dependencies.len());
    while let Some(name) = ready.pop_first() {
        order.push(name);
        for &dependent in dependents.get(name).map_or(&[][..], Vec::as_slice) {
            if let Some(count) = waiting.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    if order.len() == dependencies.len() {
        return Ok(order);
    }
    let done: BTreeSet<&str> = order.into_iter().collect();
    Err(dependencies.keys().copied().filter(|name| !done.contains(name)).collect())
}

/// What is known of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyState {
    /// There is no such Task, and no record of one.
    Missing,
    /// It has not ended.
    Unfinished,
    /// It succeeded, now or in a record that outlived it.
    Succeeded,
    /// It failed.
    Failed,
}

/// Whether a Task may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// All dependencies succeeded.
    Ready,
    /// These, in the order of the spec, have not ended or do not exist.
    Waiting {
        /// Dependencies that do not exist.
        missing: Vec<String>,
        /// Dependencies that have not ended.
        unfinished: Vec<String>,
    },
    /// This one failed, so the Task can never start.
    Failed {
        /// The first failed dependency in the order of the spec.
        dependency: String,
    },
}

/// Decides whether a Task may start. A failure counts even while others are waited for.
pub fn readiness<'a>(
    depends_on: impl IntoIterator<Item = &'a str>,
    mut state: impl FnMut(&str) -> DependencyState,
) -> Readiness {
    let (mut missing, mut unfinished) = (Vec::new(), Vec::new());
    for name in depends_on {
        match state(name) {
            DependencyState::Failed => return Readiness::Failed { dependency: name.to_owned() },
            DependencyState::Missing => missing.push(name.to_owned()),
            DependencyState::Unfinished => unfinished.push(name.to_owned()),
            DependencyState::Succeeded => {}
        }
    }
    if missing.is_empty() && unfinished.is_empty() {
        return Readiness::Ready;
    }
    Readiness::Waiting { missing, unfinished }
}

/// Breadth-first search from `start` back to `start`.
fn shortest_way_back<'a>(
    start: &'a str,
    mut dependencies_of: impl FnMut(&'a str) -> Vec<&'a str>,
) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&'a str, &'a str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(name) = queue.pop_front() {
        for next in dependencies_of(name) {
            if next == start {
                let mut cycle = vec![name];
                let mut at = name;
                while let Some(&before) = came_from.get(at) {
                    cycle.push(before);
                    at = before;
                }
                cycle.reverse();
                return Some(cycle);
            }
            if next != start && !came_from.contains_key(next) {
                came_from.insert(next, name);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Strongly connected components by Tarjan's algorithm, with a stack of our own in place of recursion.
fn groups<'a>(dependencies: &Dependencies<'a>) -> Vec<Vec<&'a str>> {
    #[derive(Clone, Copy)]
    struct Mark {
        index: usize,
        low: usize,
        on_stack: bool,
    }
    let mut marks: BTreeMap<&'a str, Mark> = BTreeMap::new();
    let mut stack: Vec<&'a str> = Vec::new();
    let mut groups = Vec::new();
    let edges = |name: &str| dependencies.get(name).map_or(&[][..], Vec::as_slice);
    for &root in dependencies.keys() {
        if marks.contains_key(root) {
            continue;
        }
        let mut calls: Vec<(&str, usize)> = vec![(root, 0)];
        while let Some((name, edge)) = calls.pop() {
            if edge == 0 {
                marks.insert(name, Mark { index: marks.len(), low: marks.len(), on_stack: true });
                stack.push(name);
            }
            let mut low = marks.get(name).map_or(0, |mark| mark.low);
            // Coming back from a dependency: what it reaches, this one reaches.
            if let Some(last) = edge.checked_sub(1).and_then(|last| edges(name).get(last)) {
                low = marks.get(last).filter(|mark| mark.on_stack).map_or(low, |mark| low.min(mark.low));
            }
            if let Some(mark) = marks.get_mut(name) {
                mark.low = low;
            }
            if let Some(&next) = edges(name).get(edge) {
                calls.push((name, edge + 1));
                if dependencies.contains_key(next) && !marks.contains_key(next) {
                    calls.push((next, 0));
                }
                continue;
            }
            if marks.get(name).is_some_and(|mark| mark.index == mark.low) {
                let mut group = Vec::new();
                while let Some(member) = stack.pop() {
                    if let Some(mark) = marks.get_mut(member) {
                        mark.on_stack = false;
                    }
                    group.push(member);
                    if member == name {
                        break;
                    }
                }
                groups.push(group);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph<'a>(edges: &[(&'a str, &[&'a str])]) -> Dependencies<'a> {
        edges.iter().map(|(name, needs)| (*name, needs.to_vec())).collect()
    }

    fn check(edges: &[(&str, &[&str])], expected_cycles: &[&[&str]]) {
        let graph = graph(edges);
        assert_eq!(cycles(&graph), expected_cycles, "{edges:?}");
        assert_eq!(order(&graph).is_ok(), expected_cycles.is_empty(), "{edges:?}");
    }

    #[test]
    fn circles_are_found_and_nothing_else() {
        check(&[], &[]);
        check(&[("a", &[])], &[]);
        check(&[("a", &["a"])], &[&["a"]]);
        check(&[("a", &["b"]), ("b", &["a"])], &[&["a", "b"]]);
        check(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &[])], &[]);
        check(&[("a", &["elsewhere"]), ("b", &["a", "a"])], &[]);
        check(&[("tail", &["x"]), ("x", &["y"]), ("y", &["z"]), ("z", &["x"])], &[&["x", "y", "z"]]);
        check(
            &[("a", &["b"]), ("b", &["a"]), ("c", &["d"]), ("d", &["c", "a"])],
            &[&["a", "b"], &["c", "d"]],
        );
        // Of several circles in a group the shortest through the smallest name.
        check(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &["a"])], &[&["a", "c"]]);
    }

    #[test]
    fn a_long_chain_is_no_problem() {
        let names: Vec<String> = (0..20_000).map(|number| format!("{number:05}")).collect();
        let mut graph: Dependencies<'_> =
            names.windows(2).map(|pair| (pair[0].as_str(), vec![pair[1].as_str()])).collect();
        graph.insert(&names[19_999], vec![]);
        assert_eq!(cycles(&graph), Vec::<Vec<&str>>::new());
        assert_eq!(order(&graph).unwrap()[0], names[19_999]);
        graph.insert(&names[19_999], vec![&names[0]]);
        assert_eq!(cycles(&graph)[0].len(), 20_000);
        assert_eq!(order(&graph).unwrap_err().len(), 20_000);
    }

    #[test]
    fn order_puts_dependencies_first() {
        let graph = graph(&[("a", &["c"]), ("b", &[]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(order(&graph), Ok(vec!["b", "c", "a", "d"]));
        let graph = super::tests::graph(&[("a", &["a"]), ("b", &["a"]), ("c", &[])]);
        assert_eq!(order(&graph), Err(vec!["a", "b"]));
    }

    #[test]
    fn cycle_through_asks_each_name_once() {
        let graph = graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &["b", "d"]), ("d", &["a"])]);
        let mut asked = Vec::new();
        let cycle = cycle_through("a", |name| {
            asked.push(name);
            graph[name].clone()
        });
        assert_eq!(cycle, Some(vec!["a", "c", "d"]));
        assert_eq!(asked, ["a", "b", "c", "d"]);
        assert_eq!(cycle_through("b", |name| if name == "b" { vec!["a"] } else { vec![] }), None);
    }

    #[test]
    fn a_task_starts_when_all_succeeded_and_fails_when_one_failed() {
        let state = |name: &str| match name {
            "ok" => DependencyState::Succeeded,
            "bad" => DependencyState::Failed,
            "busy" => DependencyState::Unfinished,
            _ => DependencyState::Missing,
        };
        assert_eq!(readiness([], state), Readiness::Ready);
        assert_eq!(readiness(["ok", "ok"], state), Readiness::Ready);
        let waiting =
            Readiness::Waiting { missing: vec!["gone".to_owned()], unfinished: vec!["busy".to_owned()] };
        assert_eq!(readiness(["gone", "ok", "busy"], state), waiting);
        assert_eq!(readiness(["gone", "bad"], state), Readiness::Failed { dependency: "bad".to_owned() });
    }
}
