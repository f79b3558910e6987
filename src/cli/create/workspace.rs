//! `kelos create workspace`

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::Args;
use k8s_openapi::api::core::v1;
use kube::api::{Api, PostParams};

use crate::api::kind::Kind;
use crate::api::reference::SecretReference;
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::server::{self, Server};
use crate::cli::{FIELD_MANAGER, GlobalArguments};
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
    /// Token for the repository; it is put into the Secret NAME-credentials
    #[arg(long, value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text)))]
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
    if let (Some(token), Some(name)) = (&arguments.token, &secret) {
        store_token(&server, name, token, arguments.yes, printer).await?;
    }
    super::create(&server, Kind::Workspace, &workspace, printer).await
}

/// Puts the token into the Secret; asks before it replaces other contents.
async fn store_token(
    server: &Server,
    name: &str,
    token: &Secret,
    overwrite: bool,
    printer: Printer,
) -> Result<(), CommandError> {
    let api: Api<v1::Secret> = Api::namespaced(server.client.clone(), &server.namespace);
    let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let data =
        BTreeMap::from([(TOKEN_KEY.to_owned(), k8s_openapi::ByteString(token.expose().as_bytes().to_vec()))]);
    let mut wanted = v1::Secret { data: Some(data), ..v1::Secret::default() };
    wanted.metadata.name = Some(name.to_owned());
    let Some(existing) = api.get_opt(name).await? else {
        api.create(&parameters, &wanted).await?;
        return printer.line(format_args!("secret/{name} created"));
    };
    if existing.data == wanted.data {
        return Ok(());
    }
    if !overwrite && !confirmed(&format!("secret/{name} exists with other contents. Overwrite it?"), printer)?
    {
        return Err(CommandError::user_message(format!(
            "secret/{name} is left as it is, and nothing was created"
        ))
        .hint("-y overwrites it; --secret names another one"));
    }
    wanted.metadata.resource_version = existing.metadata.resource_version;
    api.replace(name, &parameters, &wanted).await?;
    printer.line(format_args!("secret/{name} updated"))
}

/// Asks a yes-no question; where nobody can answer, the answer is no.
fn confirmed(question: &str, printer: Printer) -> Result<bool, CommandError> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    printer.message(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
