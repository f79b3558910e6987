//! Which revision of a prompt is better, said only when chance hardly explains the difference.

use crate::domain::history::PromptRevision;

/// Fewer judged runs than this say nothing about a revision.
pub const ENOUGH_RUNS: u64 = 5;

/// The quantile of the normal distribution for a confidence of 95 %.
const QUANTILE: f64 = 1.96;

/// What can be said of one revision among the others of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too few runs were judged.
    FewRuns,
    /// It succeeds more often than every other revision with enough runs.
    Best,
    /// It succeeds less often than every other revision with enough runs.
    Worst,
    /// Nothing more than its numbers.
    Open,
}

/// Returns the verdict on each of the revisions of one subject.
pub fn verdicts(revisions: &[PromptRevision]) -> Vec<Verdict> {
    let ranges: Vec<Option<(f64, f64)>> = revisions
        .iter()
        .map(|revision| {
            (revision.judged >= ENOUGH_RUNS).then(|| success_range(revision.succeeded, revision.judged))
        })
        .collect();
    let verdict = |index: usize| {
        let Some((low, high)) = ranges[index] else { return Verdict::FewRuns };
        let others =
            || ranges.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, range)| *range);
        match others().count() {
            0 => Verdict::Open,
            _ if others().all(|(_, other)| other < low) => Verdict::Best,
            _ if others().all(|(other, _)| other > high) => Verdict::Worst,
            _ => Verdict::Open,
        }
    };
    (0..revisions.len()).map(verdict).collect()
}

/// Returns between which shares the true rate of success lies with a confidence of 95 %, by Wilson's score interval.
#[expect(clippy::cast_precision_loss, reason = "numbers of runs are far below 2^52")]
pub fn success_range(succeeded: u64, judged: u64) -> (f64, f64) {
    if judged == 0 {
        return (0.0, 1.0);
    }
    let (runs, square) = (judged as f64, QUANTILE * QUANTILE);
    let share = succeeded as f64 / runs;
    let middle = share + square / (2.0 * runs);
    let spread = QUANTILE * (share * (1.0 - share) / runs + square / (4.0 * runs * runs)).sqrt();
    let whole = 1.0 + square / runs;
    (((middle - spread) / whole).max(0.0), ((middle + spread) / whole).min(1.0))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn check(counts: &[(u64, u64)], expected: &[Verdict]) {
        let revision = |(succeeded, judged): &(u64, u64)| PromptRevision {
            prompt_digest: None,
            first_source_revision: None,
            source_revision: None,
            source_file: None,
            source_line: None,
            runs: *judged,
            judged: *judged,
            succeeded: *succeeded,
            outcomes: std::collections::BTreeMap::new(),
            cost: None,
            priced: 0,
            input_tokens: None,
            output_tokens: None,
            median_seconds: None,
            first_ended: Timestamp::UNIX_EPOCH,
            last_ended: Timestamp::UNIX_EPOCH,
            last_outcome: "Succeeded".to_owned(),
            last_task: "t".to_owned(),
        };
        let revisions: Vec<PromptRevision> = counts.iter().map(revision).collect();
        assert_eq!(verdicts(&revisions), expected, "{counts:?}");
    }

    #[test]
    fn a_difference_is_named_when_chance_hardly_explains_it() {
        use Verdict::{Best, FewRuns, Open, Worst};
        check(&[(40, 40), (20, 40)], &[Best, Worst]);
        check(&[(40, 40), (38, 40)], &[Open, Open]);
        // Three of three against none of three looks clear, and is not.
        check(&[(3, 3), (0, 3)], &[FewRuns, FewRuns]);
        check(&[(5, 5)], &[Open]);
        check(&[(95, 100), (50, 100), (5, 100), (1, 1)], &[Best, Open, Worst, FewRuns]);
        check(&[], &[]);
    }

    #[test]
    fn the_range_is_that_of_the_textbook() {
        let (low, high) = success_range(7, 10);
        assert!((low - 0.396_8).abs() < 0.001 && (high - 0.892_2).abs() < 0.001, "{low} {high}");
        assert_eq!(success_range(0, 0), (0.0, 1.0));
        assert!(success_range(0, 5).0 < 1e-9 && success_range(5, 5).1 > 1.0 - 1e-9);
    }
}
