//! Which ConfigRepository reports what.

use std::collections::HashMap;

use kube::ResourceExt as _;

use crate::api::config_repository::ConfigRepository;

/// The ConfigRepositories of one namespace, by who reports what.
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    /// By uid: whether it reports.
    reports: HashMap<String, bool>,
    /// The oldest that reports, by uid.
    first: Option<String>,
}

impl Assignment {
    /// Assigns among the ConfigRepositories of one namespace.
    pub(crate) fn of<'a>(repositories: impl IntoIterator<Item = &'a ConfigRepository>) -> Self {
        let mut reports = HashMap::new();
        let mut first = None;
        for repository in repositories {
            let uid = repository.uid().unwrap_or_default();
            let is_reporting =
                repository.spec.report().is_some() && repository.metadata.deletion_timestamp.is_none();
            if is_reporting {
                let age = (repository.creation_timestamp().map(|time| time.0), repository.name_any());
                if first.as_ref().is_none_or(|(oldest, _)| age < *oldest) {
                    first = Some((age, uid.clone()));
                }
            }
            reports.insert(uid, is_reporting);
        }
        Self { reports, first: first.map(|(_, uid)| uid) }
    }

    /// Returns the uid of the ConfigRepository that reports what `defined_by` defined: itself, if it reports. What
    /// none defined, or one that is gone, is reported by the oldest that reports.
    pub(crate) fn reporter<'a>(&'a self, defined_by: Option<&'a str>) -> Option<&'a str> {
        match defined_by.and_then(|uid| Some((uid, self.reports.get(uid)?))) {
            Some((uid, true)) => Some(uid),
            Some((_, false)) => None,
            None => self.first.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repository(uid: &str, created: &str, reports: bool) -> ConfigRepository {
        serde_json::from_value(json!({
            "apiVersion": "gitops.kelos.dev/v1alpha1", "kind": "ConfigRepository",
            "metadata": {"name": uid, "uid": uid, "creationTimestamp": created},
            "spec": {"url": "/srv/config", "report": {"enabled": reports}},
        }))
        .unwrap()
    }

    #[test]
    fn every_run_has_one_reporter_also_when_its_repository_is_gone() {
        let all = [
            repository("silent", "2026-01-01T00:00:00Z", false),
            repository("young", "2026-03-01T00:00:00Z", true),
            repository("old", "2026-02-01T00:00:00Z", true),
        ];
        let assignment = Assignment::of(&all);
        for (defined_by, reporter) in [
            (Some("young"), Some("young")),
            (Some("silent"), None),
            (Some("gone"), Some("old")),
            (None, Some("old")),
        ] {
            assert_eq!(assignment.reporter(defined_by), reporter, "{defined_by:?}");
        }
        assert_eq!(Assignment::of(&all[..1]).reporter(None), None);
    }
}
