//! `kelos delete`

use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};

use crate::api::kind::Kind;
use crate::api::labels;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, kinds, server};

/// Delete objects
///
/// A Task that is running is ended first. What a config repository defines comes back with its next pass, except
/// Tasks that ran.
#[derive(Debug, Args)]
pub(super) struct DeleteArguments {
    /// Kind of the objects: task, taskspawner (ts), workspace (ws), agentconfig (ac), configrepository (cfg),
    /// runrecord (rr)
    #[arg(value_parser = kinds::parse)]
    kind: Kind,
    /// Name of the object
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = kinds::object_name)]
    name: Option<String>,
    /// All objects of the kind in the namespace
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(
    arguments: &DeleteArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let server = server::connect(global, environment).await?;
    let kind = arguments.kind;
    let api = kinds::api(&server, kind);
    let objects = match &arguments.name {
        Some(name) => vec![api.get(name).await?],
        None => api.list(&ListParams::default()).await?.items,
    };
    if objects.is_empty() {
        printer.message(format_args!("No {} in {}", kind.plural(), server.namespace));
        return Ok(ExitCode::SUCCESS);
    }
    server.tell(printer);
    let mut defined = Vec::new();
    for object in objects {
        let name = object.name_any();
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => printer.line(format_args!("{}/{name} deleted", kinds::name(kind)))?,
            // Of a whole list, some may have left meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 && arguments.all => {}
            Err(error) => return Err(error.into()),
        }
        if kind != Kind::Task
            && let Some(file) = object.annotations().get(labels::CONFIG_FILE)
        {
            defined.push(format!("{}/{name} ({file})", kinds::name(kind)));
        }
    }
    if !defined.is_empty() {
        printer.message(format_args!(
            "Hint: git defines {}; it comes back unless it leaves the config repository too",
            defined.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
