//! Definitions against a server: the same plan that a pass would make, told and not carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::Value;

use crate::api::config_repository::{ANY_SECRET, ConfigRepository, ConfigRepositoryStatus};
use crate::api::kind::Kind;
use crate::cli::GlobalArguments;
use crate::cli::command_error::CommandError;
use crate::cli::diff::sources::{Known, Sources};
use crate::cli::diff::{Compared, DiffArguments};
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::cli::{kinds, server};
use crate::clock;
use crate::domain::plan::{self, Action, ApplyReason, Notice, ObjectKey, Plan, PruneGuard};
use crate::gitops::apply::{self, Failure, Target};
use crate::gitops::diff::{self, Difference};
use crate::gitops::evaluate::Evaluation;
use crate::gitops::finding::{Lines, LocatedFinding, located};
use crate::gitops::observed::ObservedCluster;
use crate::validate::finding::FindingCode;
use crate::yaml::Position;

/// How long listing the cluster may take.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn compare(
    arguments: &DiffArguments,
    sources: Sources,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<Compared, CommandError> {
    let server = server::connect(global, environment).await?;
    let repository = repository(&server, &arguments.repository).await?;
    let owner = repository.uid().unwrap_or_default();
    let cluster = observe(&server).await?;
    let view = cluster.namespace(&server.namespace);
    let spec = &repository.spec;
    let known = Known {
        values: spec.values.clone(),
        namespace: Some(server.namespace.clone()),
        allowed_secrets: spec
            .allowed_secrets
            .as_ref()
            .filter(|names| names.iter().all(|name| name != ANY_SECRET))
            .map(|names| names.iter().cloned().collect()),
        live: view.others(&owner),
    };
    let sources = match (&arguments.path, &spec.path) {
        (None, Some(path)) if !sources.ends_with(path) => sources.below(path.trim_matches('/'))?,
        (None | Some(_), _) => sources,
    };
    let evaluation = sources.evaluate(arguments.to.as_deref(), &known)?;
    if !evaluation.is_valid() {
        return Ok(Compared { difference: Difference::default(), findings: evaluation.findings });
    }
    let guard = PruneGuard {
        enabled: spec.prune,
        limit_percent: u8::try_from(spec.prune_limit.clamp(0, 100)).unwrap_or(100),
        confirmed: false,
        held_of: repository.status.as_ref().and_then(ConfigRepositoryStatus::held_of),
    };
    let plan = plan::plan(&evaluation.desired, &view, &owner, guard);
    printer.message(format_args!("against {} (from {})", server.address, server.source));
    let target = Target {
        client: server.client.clone(),
        namespace: server.namespace.clone(),
        repository: repository.name_any(),
        owner,
        revision: String::new(),
    };
    tell(&server, &target, evaluation, &plan).await
}

/// Asks the server about each change, and tells what it answers.
async fn tell(
    server: &Server,
    target: &Target,
    evaluation: Evaluation,
    plan: &Plan,
) -> Result<Compared, CommandError> {
    let mut findings = evaluation.findings;
    let mut preview = BTreeMap::new();
    for (index, answer) in apply::preview(target, &evaluation.desired, &plan.actions).await {
        match answer {
            Ok(object) => {
                preview.insert(index, object);
            }
            Err(failure) if failure.refused => findings.push(finding(&failure)),
            Err(failure) => {
                return Err(CommandError::user_message(format!(
                    "the server did not answer about {}: {}",
                    failure.key, failure.message
                )));
            }
        }
    }
    let live = live_objects(server, &evaluation.desired, plan).await?;
    let difference = diff::planned(&evaluation.desired, plan, &live, &preview, clock::system().now());
    Ok(Compared { difference, findings })
}

/// Reads the objects that change, as they are.
async fn live_objects(
    server: &Server,
    desired: &[Arc<plan::Desired>],
    plan: &Plan,
) -> Result<BTreeMap<ObjectKey, Value>, CommandError> {
    let mut keys: BTreeSet<&ObjectKey> = BTreeSet::new();
    for action in &plan.actions {
        match action {
            Action::Apply {
                desired: index, reason: ApplyReason::Changed | ApplyReason::Drifted(_), ..
            }
            | Action::RunAgain { desired: index, .. } => {
                keys.insert(&desired[*index].key);
            }
            Action::Apply { reason: ApplyReason::Missing, .. }
            | Action::Run { .. }
            | Action::Prune { .. } => {}
        }
    }
    for notice in &plan.notices {
        if let Notice::WaitsForOlderRun(key) | Notice::WaitsForDependency { task: key, .. } = notice {
            keys.insert(key);
        }
    }
    let mut live = BTreeMap::new();
    for key in keys {
        // One that left meanwhile is compared with nothing.
        if let Some(mut object) = kinds::api(server, key.kind.in_api()).get_opt(&key.name).await? {
            object.metadata.managed_fields = None;
            let mut value = serde_json::to_value(&object).map_err(CommandError::internal)?;
            value["kind"] = Value::String(key.kind.as_str().to_owned());
            live.insert(key.clone(), value);
        }
    }
    Ok(live)
}

async fn repository(server: &Server, name: &str) -> Result<ConfigRepository, CommandError> {
    let api: Api<ConfigRepository> = Api::namespaced(server.client.clone(), &server.namespace);
    match api.get_opt(name).await? {
        Some(repository) => Ok(repository),
        None => Err(CommandError::user_message(format!(
            "there is no {} '{name}' in {} on {}",
            Kind::ConfigRepository.as_str(),
            server.namespace,
            server.address
        ))
        .hint("--repository names another one; --offline compares with a revision and asks no server")),
    }
}

/// Lists what the cluster holds.
async fn observe(server: &Server) -> Result<Arc<ObservedCluster>, CommandError> {
    let cluster = Arc::new(ObservedCluster::new());
    let (sender, mut listed) = tokio::sync::watch::channel(false);
    tokio::select! {
        () = Arc::clone(&cluster).follow(server.client.clone(), sender) => {}
        done = listed.wait_for(|listed| *listed) => if done.is_ok() { return Ok(cluster.clone()); },
        () = tokio::time::sleep(PATIENCE) => {}
    }
    Err(CommandError::user_message(format!("{} could not be listed within {PATIENCE:?}", server.address))
        .hint("On a cluster, kelos diff has to be allowed to list Tasks, TaskSpawners, Workspaces, AgentConfigs and RunRecords"))
}

fn finding(failure: &Failure) -> LocatedFinding {
    let position = Position { line: failure.line.max(1), column: 1 };
    located(
        FindingCode::RefusedByServer.as_str(),
        &failure.file,
        position,
        &Lines::of(""),
        failure.message.clone(),
        None,
    )
}
