//! Whatever is killed, full and refused, and when: every run is started at most once, ends, and is told once.
//!
//! Tasks with a short life come by commit and by the schedules of thirty spawners while the daemon and runners are killed
//! at random, the disk of the daemon is full for a while, and the remote refuses the report. Each run leaves a branch of
//! its own in a repository outside, so that a start is counted by somebody who is not killed.
//!
//! `KELOS_CHAOS_ROUNDS` makes it longer, `KELOS_CHAOS_SEED` repeats what was random in it.

mod definitions;
mod story;
mod verdict;

use std::str::FromStr;

use crate::chaos_converges::story::Story;

/// How many rounds there are at the least unless told otherwise; each ends with a kill.
const ROUNDS: usize = 25;

fn told<T: FromStr>(name: &str) -> Option<T> {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says how")]
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn runs_are_started_once_and_told_once_whatever_is_killed_full_and_refused() {
    let rounds = told("KELOS_CHAOS_ROUNDS").unwrap_or(ROUNDS);
    let seed = told("KELOS_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut story = Story::begin(seed);
    let mut round = 0;
    // All spawners fire at least once in it.
    while round < rounds || !story.has_seen_a_full_minute() {
        story.round(round);
        round += 1;
    }
    story.come_to_rest(round);
    verdict::judge(&story, round);
    story.end();
}
