//! The embedded control plane: the store, and the API server over it for our kinds.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::rule::RuleReason;
use crate::api::schema;
use crate::apiserver::{ApiServer, Options, Resource, Rules, Violation, ViolationReason};
use crate::clock::SharedClock;
use crate::daemon::log;
use crate::executor::Executor;
use crate::metrics::Requests;
use crate::store::Store;
use crate::validate::rules;

/// Returns the API server for all our kinds over `store`.
pub(super) fn api_server(
    store: Store,
    clock: SharedClock,
    executor: &Arc<dyn Executor>,
    requests: Requests,
) -> anyhow::Result<ApiServer> {
    let mut resources = Vec::new();
    for kind in Kind::ALL {
        let resource = Resource::from_crd(&schema::crd(*kind), Some(rules_of(*kind)));
        let resource = resource.with_context(|| format!("the definition of {kind} is broken"))?;
        resources.push(match kind {
            Kind::Task => resource.with_subresource("log", log::handler(Arc::clone(executor))),
            Kind::TaskSpawner
            | Kind::Workspace
            | Kind::AgentConfig
            | Kind::ConfigRepository
            | Kind::RunRecord => resource,
        });
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(ApiServer::new(store, resources, Options { clock, version, requests }))
}

/// Returns the rules of `kind` as the API server takes them.
pub fn rules_of(kind: Kind) -> Rules {
    Arc::new(move |new: &Value, old: Option<&Value>| {
        rules::violations(kind.as_str(), new, old)
            .into_iter()
            .map(|violation| Violation {
                path: violation.path,
                message: violation.message,
                reason: match violation.reason {
                    RuleReason::Invalid => ViolationReason::Invalid,
                    RuleReason::Required => ViolationReason::Required,
                },
            })
            .collect()
    })
}
