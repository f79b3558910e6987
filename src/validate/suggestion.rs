//! Did you mean: the known word that somebody probably had in mind.

/// Longer words, in bytes, are no misspelling of anything.
const LONGEST: usize = 256;

/// Returns the known word that is closest to `word`, if one is close enough to be meant.
///
/// Upper and lower case and the characters `-` and `_` do not count, so `agentsMd` finds `agentsMD`.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = strsim::damerau_levenshtein(&wanted, &plain(candidate));
        // A third of the letters may differ; very short words must agree but for one.
        let limit = (wanted.chars().count().max(candidate.chars().count()) / 3).max(1);
        let closer = best.is_none_or(|(least, found)| (distance, candidate) < (least, found));
        if candidate != word && distance <= limit && closer {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Returns `did you mean "x"?`, if there is something to mean.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, known).map(|candidate| format!("did you mean {candidate:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_are_found_and_far_ones_are_not() {
        let known = ["schedule", "timeZone", "agentsMD", "maxConcurrency", "maxTotalTasks", "ref"];
        for (word, expected) in [
            ("schedul", Some("schedule")),
            ("time_zone", Some("timeZone")),
            ("agentsMd", Some("agentsMD")),
            ("maxConcurency", Some("maxConcurrency")),
            ("rfe", Some("ref")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }
}
