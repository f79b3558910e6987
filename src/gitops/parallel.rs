//! Work on many items on all processors.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// Fewer items are not worth a thread.
const FEWEST: usize = 32;
/// More threads wait for each other.
const MOST_THREADS: usize = 8;

/// Applies `work` to every item and returns the results in the order of the items.
pub(super) fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    if threads == 1 || items.len() < FEWEST {
        return items.into_iter().map(work).collect();
    }
    let (count, size) = (items.len(), items.len().div_ceil(threads));
    let mut items = items.into_iter();
    thread::scope(|scope| {
        let work = &work;
        let begin = |_| {
            let share: Vec<T> = items.by_ref().take(size).collect();
            scope.spawn(move || share.into_iter().map(work).collect::<Vec<R>>())
        };
        let begun: Vec<_> = (0..threads).map(begin).collect();
        let mut results = Vec::with_capacity(count);
        for thread in begun {
            results.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, FEWEST - 1, FEWEST, 1_000] {
            let doubled = in_parallel((0..count).collect(), |number: usize| number * 2);
            assert_eq!(doubled, (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
    }
}
