//! Objects that a command wants to be there: what differs is overwritten only when the user agrees.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{BufRead as _, IsTerminal as _};

use k8s_openapi::api::core::v1;
use kube::Resource;
use kube::api::{Api, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::workspace::Workspace;
use crate::cli::FIELD_MANAGER;
use crate::cli::command_error::CommandError;
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::secret::Secret;

/// A write that was decided on. Nothing is written before all questions of a command are answered.
#[derive(Debug)]
pub(super) enum Write<K> {
    /// The object is as it is wanted.
    Nothing,
    /// It is not there.
    Create(K),
    /// It is there with other contents, which may go.
    Replace(K),
}

/// A kind whose objects can be compared with what is wanted.
pub(super) trait Wanted:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
    /// How the kind is called: `secret`.
    const NAME: &'static str;
    /// Returns whether the contents are the same.
    fn has_same_contents(&self, other: &Self) -> bool;
}

impl Wanted for v1::Secret {
    const NAME: &'static str = "secret";

    fn has_same_contents(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl Wanted for Workspace {
    const NAME: &'static str = "workspace";

    fn has_same_contents(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// Returns a Secret with these keys.
pub(super) fn secret(name: &str, keys: impl IntoIterator<Item = (String, Secret)>) -> v1::Secret {
    let bytes = |secret: Secret| k8s_openapi::ByteString(secret.expose().as_bytes().to_vec());
    let data: BTreeMap<_, _> = keys.into_iter().map(|(key, value)| (key, bytes(value))).collect();
    let mut secret = v1::Secret { data: Some(data), ..v1::Secret::default() };
    secret.metadata.name = Some(name.to_owned());
    secret
}

/// Decides what has to be written for `wanted` to be there; asks before other contents go, unless `overwrite` agrees.
pub(super) async fn decide<K: Wanted>(
    server: &Server,
    mut wanted: K,
    overwrite: bool,
    printer: Printer,
) -> Result<Write<K>, CommandError> {
    let name = wanted.meta().name.clone().unwrap_or_default();
    let api: Api<K> = Api::namespaced(server.client.clone(), &server.namespace);
    let Some(existing) = api.get_opt(&name).await? else { return Ok(Write::Create(wanted)) };
    if existing.has_same_contents(&wanted) {
        return Ok(Write::Nothing);
    }
    let what = K::NAME;
    let question = format!("{what}/{name} exists with other contents. Overwrite it?");
    if !overwrite && !confirmed(&question, printer)? {
        return Err(CommandError::user_message(format!(
            "{what}/{name} is left as it is, and nothing was created"
        ))
        .hint("-y overwrites it"));
    }
    wanted.meta_mut().resource_version.clone_from(&existing.meta().resource_version);
    wanted.meta_mut().labels.clone_from(&existing.meta().labels);
    wanted.meta_mut().annotations.clone_from(&existing.meta().annotations);
    Ok(Write::Replace(wanted))
}

/// Carries a write out and says so.
pub(super) async fn carry_out<K: Wanted>(
    server: &Server,
    write: Write<K>,
    printer: Printer,
) -> Result<(), CommandError> {
    let api: Api<K> = Api::namespaced(server.client.clone(), &server.namespace);
    let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let (name, done) = match write {
        Write::Nothing => return Ok(()),
        Write::Create(object) => (api.create(&parameters, &object).await?.meta().name.clone(), "created"),
        Write::Replace(object) => {
            let name = object.meta().name.clone();
            api.replace(name.as_deref().unwrap_or_default(), &parameters, &object).await?;
            (name, "updated")
        }
    };
    printer.line(format_args!("{}/{} {done}", K::NAME, name.unwrap_or_default()))
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
