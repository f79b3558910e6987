//! `kelos create workspace`

use std::convert::Infallible;
use std::process::ExitCode;

use clap::Args;

use crate::api::kind::Kind;
use crate::api::reference::SecretReference;
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, objects, server};
use crate::secret::Secret;

/// The key under which a Secret holds the token of a workspace.
const TOKEN_KEY: &str = "GITHUB_TOKEN";

/// Create a Workspace
#[derive(Debug, Args)]
pub(super) struct WorkspaceArguments {
    /// Name of the Workspace
    name: String,
    /// URL of the git repository
    #[arg(long, value_name = "URL")]
    repo: String,
    /// Branch, tag or commit to check out; by default the default branch
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Secret with GITHUB_TOKEN
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    secret: Option<String>,
    /// Token for the repository, as @FILE or - for standard input; it is put into the Secret NAME-credentials
    ///
    /// The token itself is taken too, but other users of the machine can see it there.
    #[arg(long, value_name = "@FILE", value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text)))]
    token: Option<Secret>,
    /// Print the Workspace and create nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing: overwrite a Secret that has other contents
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(
    arguments: &WorkspaceArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let token = match &arguments.token {
        Some(token) if !arguments.dry_run => Some(super::secret_text("--token", token)?),
        Some(_) | None => None,
    };
    let secret = match (&arguments.token, &arguments.secret) {
        (Some(_), _) => Some(format!("{}-credentials", arguments.name)),
        (None, secret) => secret.clone(),
    };
    let spec = WorkspaceSpec {
        repo: arguments.repo.clone(),
        reference: arguments.reference.clone(),
        secret_ref: secret.clone().map(|name| SecretReference { name }),
        remotes: Vec::new(),
        files: Vec::new(),
        setup_command: Vec::new(),
    };
    let mut workspace = Workspace::new(&arguments.name, spec);
    workspace.metadata.namespace.clone_from(&global.namespace);
    if arguments.dry_run {
        return super::print(&workspace, printer);
    }
    let server = server::connect(global, environment).await?;
    server.tell(printer);
    workspace.metadata.namespace = Some(server.namespace.clone());
    if let (Some(token), Some(name)) = (token, &secret) {
        let wanted = objects::secret(name, [(TOKEN_KEY.to_owned(), token)]);
        let write = objects::decide(&server, wanted, arguments.yes, printer).await?;
        objects::carry_out(&server, write, printer).await?;
    }
    super::create(&server, Kind::Workspace, &workspace, printer).await
}
