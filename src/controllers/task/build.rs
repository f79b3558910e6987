//! From a Task and what it names to the plan of its run: pure, so that every refusal is found before anything is spent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret as SecretObject;
use serde_json::{Map, Value, json};

use crate::api::agent_config::{AgentConfigSpec, McpServer};
use crate::api::condition::Reason;
use crate::api::labels;
use crate::api::run::{self, FORMAT_VERSION, Plan, SKILLS_PLUGIN, Secrets, TOKEN_FILE};
use crate::api::task::{AgentType, Task, TaskSpec};
use crate::api::workspace::WorkspaceSpec;
use crate::controllers::app_secret;
use crate::controllers::task::bounds::{self, Bounds};
use crate::digest;
use crate::domain::phase::{MissingObject, Refusal};
use crate::git::remote::RemoteUrl;
use crate::lang::gotemplate::{Missing, Template};
use crate::secret::Secret;

/// The key of a Secret with a private key for ssh.
const SSH_IDENTITY: &str = "identity";
/// The key of a Secret with the host keys that are believed then.
const SSH_KNOWN_HOSTS: &str = "known_hosts";

/// What is the same for all runs of this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Folders in which programs are looked up, in the form of `PATH`.
    pub search_path: String,
    /// Folder for the mirrors of repositories.
    pub mirrors: PathBuf,
    /// The proxies through which this machine reaches others, by the names of the variables that say so.
    pub proxies: BTreeMap<String, Secret>,
    /// Variables for git while it clones: the user's keys, certificates.
    pub git_environment: BTreeMap<String, String>,
    /// Variables for the installer of skills: certificates, the registry.
    pub install_environment: BTreeMap<String, String>,
    /// Files and folders that no agent may see.
    pub private: Vec<PathBuf>,
    /// Programs that stand for images or take the place of the program of an agent type, by the name of either.
    pub agents: BTreeMap<String, PathBuf>,
    /// What runs are kept from, and what they may use.
    pub bounds: Bounds,
}

/// A Task with everything that it names.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) task: &'a Task,
    pub(crate) workspace: Option<&'a WorkspaceSpec>,
    pub(crate) agent_configs: &'a [AgentConfigSpec],
    pub(crate) dependencies: &'a [Dependency],
    pub(crate) secrets: &'a BTreeMap<String, SecretObject>,
    /// The token of the GitHub App of the Workspace.
    pub(crate) minted: Option<&'a Secret>,
}

/// What a Task may use of one that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) outputs: Vec<String>,
    pub(crate) results: BTreeMap<String, String>,
}

/// Why there is no plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Missing(MissingObject),
    Refused(Refusal),
}

/// Returns the names of all Secrets that a run needs.
pub(crate) fn secret_names(
    spec: &TaskSpec,
    workspace: Option<&WorkspaceSpec>,
    agent_configs: &[AgentConfigSpec],
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    names.extend(
        spec.credentials
            .iter()
            .filter_map(|credentials| credentials.secret_ref.as_ref())
            .map(|secret| secret.name.clone()),
    );
    names.extend(
        workspace
            .iter()
            .filter_map(|workspace| workspace.secret_ref.as_ref())
            .map(|secret| secret.name.clone()),
    );
    let packages = agent_configs.iter().flat_map(|config| &config.skills);
    names.extend(packages.filter_map(|package| Some(package.secret_ref.as_ref()?.name.clone())));
    for server in agent_configs.iter().flat_map(|config| &config.mcp_servers) {
        names.extend(
            [&server.headers_from, &server.env_from]
                .into_iter()
                .flatten()
                .map(|from| from.secret_ref.name.clone()),
        );
    }
    let variables =
        spec.pod_overrides.as_ref().and_then(|overrides| overrides.env().ok()).unwrap_or_default();
    for selector in variables.into_iter().filter_map(|variable| variable.value_from?.secret_key_ref) {
        if selector.optional != Some(true) {
            names.insert(selector.name);
        }
    }
    names
}

/// Returns the plan of the run and what it may know.
pub(crate) fn build(order: &Order<'_>, machine: &Machine) -> Result<(Plan, Secrets), Obstacle> {
    let spec = &order.task.spec;
    let metadata = &order.task.metadata;
    let program = program(spec, machine)?;
    let mut secrets = Secrets { proxies: machine.proxies.clone(), ..Secrets::default() };
    let mut environment = BTreeMap::new();
    add_variables(order, &mut environment, &mut secrets)?;
    add_credentials(order, &mut secrets)?;
    add_git_credential(order, &mut secrets)?;
    if let Some(host) = forge_host(order) {
        environment.insert("GH_HOST".to_owned(), host);
    }
    let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key)).cloned();
    let plan = Plan {
        version: FORMAT_VERSION,
        run: metadata.uid.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        task: metadata.name.clone().unwrap_or_default(),
        spawner: label(labels::TASK_SPAWNER),
        agent: run::Agent {
            kind: spec.agent.as_str().to_owned(),
            program,
            image: spec.image.clone(),
            prompt: prompt(order)?,
            model: spec.model.clone(),
            effort: spec.effort.clone(),
        },
        search_path: machine.search_path.clone(),
        environment,
        workspace: order.workspace.map(|workspace| workspace_of(order, workspace, machine)).transpose()?,
        branch: order.workspace.and(spec.branch.clone()),
        upstream_repo: spec.upstream_repo.clone(),
        agents_md: agents_md(order.agent_configs),
        plugins: plugins(order.agent_configs),
        skills: skills(order, machine, &mut secrets)?,
        mcp_servers: mcp_servers(order, &mut secrets),
        item: item(order),
        limits: bounds::limits(spec, &machine.bounds)?,
        sandbox: sandbox(order, machine)?,
    };
    Ok((plan, secrets))
}

/// Returns the program that is configured for the image of a Task, or for its agent type; none is the type's own.
fn program(spec: &TaskSpec, machine: &Machine) -> Result<Option<PathBuf>, Obstacle> {
    let Some(image) = &spec.image else { return Ok(machine.agents.get(spec.agent.as_str()).cloned()) };
    let named =
        [image.as_str(), without_version(image)].into_iter().find_map(|name| machine.agents.get(name));
    named.cloned().map(Some).ok_or_else(|| {
        refused(
            Reason::ImageNeedsCluster,
            format!(
                "the image {image} cannot be run on one machine; name a program that stands for it with \
                 'kelos up --agent {}=PROGRAM', or leave 'image' out to run the agent's own program",
                without_version(image)
            ),
        )
    })
}

/// Returns the name of an image without its digest and tag. A colon before a slash belongs to a port.
fn without_version(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Obstacle {
    Obstacle::Refused(Refusal { reason, message: message.into() })
}

/// Returns the prompt: rendered for the results of dependencies when there are any, and literal for `shell`.
fn prompt(order: &Order<'_>) -> Result<String, Obstacle> {
    let spec = &order.task.spec;
    if spec.agent == AgentType::Shell || spec.depends_on.is_empty() {
        return Ok(spec.prompt.clone());
    }
    let data = json!({ "Deps": dependencies_data(order) });
    Template::parse(&spec.prompt)
        .and_then(|template| template.render(&data, Missing::Error))
        .map_err(|error| refused(Reason::PromptFailed, format!("spec.prompt cannot be rendered: {error}")))
}

fn dependencies_data(order: &Order<'_>) -> Map<String, Value> {
    order
        .dependencies
        .iter()
        .map(|dependency| {
            let Dependency { name, outputs, results } = dependency;
            (name.clone(), json!({"Name": name, "Outputs": outputs, "Results": results}))
        })
        .collect()
}

/// Returns what a `shell` script finds in its item file: the results of dependencies, and the work item's id.
fn item(order: &Order<'_>) -> Option<Value> {
    let annotations = order.task.metadata.annotations.as_ref();
    let annotation = |key: &str| annotations.and_then(|all| all.get(key)).cloned();
    let mut item = Map::new();
    if let Some(id) = annotation(labels::WORK_ITEM) {
        item.insert("ID".to_owned(), json!(id));
    }
    if let Some(time) = annotation(labels::SCHEDULED_AT) {
        item.insert("Time".to_owned(), json!(time));
    }
    if !order.dependencies.is_empty() {
        item.insert("Deps".to_owned(), Value::Object(dependencies_data(order)));
    }
    (!item.is_empty()).then_some(Value::Object(item))
}

fn add_variables(
    order: &Order<'_>,
    environment: &mut BTreeMap<String, String>,
    secrets: &mut Secrets,
) -> Result<(), Obstacle> {
    let Some(overrides) = &order.task.spec.pod_overrides else { return Ok(()) };
    let variables = overrides.env().map_err(|error| refused(Reason::InvalidSpec, error.to_string()))?;
    for variable in variables {
        let Some(source) = variable.value_from else {
            environment.insert(variable.name, variable.value.unwrap_or_default());
            continue;
        };
        let Some(selector) = source.secret_key_ref else {
            return Err(refused(
                Reason::UnsupportedHere,
                format!("the variable {} takes its value from something other than a Secret", variable.name),
            ));
        };
        match secret_value(order.secrets, &selector.name, &selector.key) {
            Ok(value) => {
                secrets.environment.insert(variable.name, value);
            }
            Err(_) if selector.optional == Some(true) => {}
            Err(obstacle) => return Err(obstacle),
        }
    }
    Ok(())
}

fn add_credentials(order: &Order<'_>, secrets: &mut Secrets) -> Result<(), Obstacle> {
    let Some(credentials) = &order.task.spec.credentials else { return Ok(()) };
    let Some(reference) = &credentials.secret_ref else { return Ok(()) };
    let Some(key) = order.task.spec.agent.credential_key(credentials.kind) else { return Ok(()) };
    secrets.environment.insert(key.to_owned(), secret_value(order.secrets, &reference.name, key)?);
    Ok(())
}

fn add_git_credential(order: &Order<'_>, secrets: &mut Secrets) -> Result<(), Obstacle> {
    let Some(workspace) = order.workspace else { return Ok(()) };
    let Some(reference) = &workspace.secret_ref else { return Ok(()) };
    let has = |key: &str| has_key(order.secrets, &reference.name, key);
    if has(SSH_IDENTITY) && RemoteUrl::parse(&workspace.repo).is_ok_and(|url| url.is_ssh()) {
        secrets.ssh = Some(run::SshKey {
            identity: secret_value(order.secrets, &reference.name, SSH_IDENTITY)?,
            known_hosts: secret_value(order.secrets, &reference.name, SSH_KNOWN_HOSTS)?.expose().to_owned(),
        });
    }
    let token = match order.minted {
        Some(token) => token.clone(),
        // With a key, or for a repository that everybody may read, a token is for the agent's calls of the forge.
        None if !has(TOKEN_FILE) && (secrets.ssh.is_some() || has(app_secret::AUTHORITY)) => return Ok(()),
        None if !has(TOKEN_FILE) && app_secret::KEYS.into_iter().any(has) => {
            let missing = app_secret::KEYS.into_iter().find(|key| !has(key)).unwrap_or_default();
            secret_value(order.secrets, &reference.name, missing)?
        }
        None => secret_value(order.secrets, &reference.name, TOKEN_FILE)?,
    };
    secrets.git = Some(run::GitCredential { username: "x-access-token".to_owned(), token: token.clone() });
    // gh reads the second for github.com and the third for every other host.
    let is_elsewhere = forge_host(order).is_some();
    for variable in [TOKEN_FILE, if is_elsewhere { "GH_ENTERPRISE_TOKEN" } else { "GH_TOKEN" }] {
        secrets.environment.insert(variable.to_owned(), token.clone());
    }
    Ok(())
}

/// Returns the host of the Workspace's forge when that is not github.com.
fn forge_host(order: &Order<'_>) -> Option<String> {
    let host = RemoteUrl::parse(&order.workspace?.repo).ok()?.web_host()?;
    (!host.eq_ignore_ascii_case("github.com")).then_some(host)
}

/// Returns how the agent is held. A forge on the loopback of this machine stays within its reach.
fn sandbox(order: &Order<'_>, machine: &Machine) -> Result<run::Sandbox, Obstacle> {
    let mut sandbox = bounds::sandbox(order.task, machine)?;
    let repository = order.workspace.and_then(|workspace| RemoteUrl::parse(&workspace.repo).ok());
    if let Some(port) = repository.as_ref().and_then(RemoteUrl::loopback_port)
        && sandbox.network == run::Network::Guarded
        && !sandbox.loopback_ports.contains(&port)
    {
        sandbox.loopback_ports.push(port);
    }
    Ok(sandbox)
}

/// Returns the packages of skills to install, whose tokens are added to the secrets.
fn skills(
    order: &Order<'_>,
    machine: &Machine,
    secrets: &mut Secrets,
) -> Result<Option<run::Skills>, Obstacle> {
    let agent_configs = order.agent_configs;
    for package in agent_configs.iter().flat_map(|config| &config.skills) {
        if let Some(reference) = &package.secret_ref {
            let token = secret_value(order.secrets, &reference.name, TOKEN_FILE)?;
            secrets.skill_tokens.insert(package.source.clone(), token);
        }
    }
    let packages: Vec<run::SkillPackage> = agent_configs
        .iter()
        .flat_map(|config| &config.skills)
        .map(|package| run::SkillPackage { source: package.source.clone(), skill: package.skill.clone() })
        .collect();
    if packages.is_empty() {
        return Ok(None);
    }
    if agent_configs.iter().flat_map(|config| &config.plugins).any(|plugin| plugin.name == SKILLS_PLUGIN) {
        let message =
            format!("{SKILLS_PLUGIN} is the plugin of skills packages; give the other plugin another name");
        return Err(refused(Reason::InvalidSpec, message));
    }
    Ok(Some(run::Skills { packages, environment: machine.install_environment.clone() }))
}

fn has_key(secrets: &BTreeMap<String, SecretObject>, name: &str, key: &str) -> bool {
    secrets.get(name).and_then(|secret| secret.data.as_ref()).is_some_and(|data| data.contains_key(key))
}

fn secret_value(secrets: &BTreeMap<String, SecretObject>, name: &str, key: &str) -> Result<Secret, Obstacle> {
    let missing = || Obstacle::Missing(MissingObject::Secret(format!("{name} with the key {key}")));
    let bytes = secrets.get(name).and_then(|secret| secret.data.as_ref()?.get(key)).ok_or_else(missing)?;
    match String::from_utf8(bytes.0.clone()) {
        Ok(text) => Ok(Secret::new(text.trim_end_matches('\n'))),
        Err(_) => {
            Err(refused(Reason::InvalidSpec, format!("the key {key} of the Secret {name} is not text")))
        }
    }
}

fn workspace_of(
    order: &Order<'_>,
    workspace: &WorkspaceSpec,
    machine: &Machine,
) -> Result<run::Workspace, Obstacle> {
    let secret = workspace.secret_ref.as_ref().map(|reference| reference.name.as_str());
    let secret = secret.filter(|name| has_key(order.secrets, name, app_secret::AUTHORITY));
    let authority =
        secret.map(|name| secret_value(order.secrets, name, app_secret::AUTHORITY)).transpose()?;
    Ok(run::Workspace {
        repo: workspace.repo.clone(),
        reference: workspace.reference.clone(),
        mirror: machine.mirrors.join(format!("{}.git", digest::short_hex(&workspace.repo, 16))),
        remotes: workspace
            .remotes
            .iter()
            .map(|remote| run::Remote { name: remote.name.clone(), url: remote.url.clone() })
            .collect(),
        files: workspace
            .files
            .iter()
            .map(|file| run::File { path: file.path.clone(), content: file.content.clone() })
            .collect(),
        setup_command: workspace.setup_command.clone(),
        authority: authority.map(|certificates| certificates.expose().to_owned()),
        git_environment: machine.git_environment.clone(),
    })
}

fn agents_md(agent_configs: &[AgentConfigSpec]) -> Option<String> {
    let texts: Vec<&str> = agent_configs
        .iter()
        .filter_map(|config| config.agents_md.as_deref())
        .filter(|text| !text.is_empty())
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

fn plugins(agent_configs: &[AgentConfigSpec]) -> Vec<run::Plugin> {
    agent_configs
        .iter()
        .flat_map(|config| &config.plugins)
        .map(|plugin| {
            let skills = plugin.skills.iter().map(|skill| (format!("skills/{}/SKILL.md", skill.name), skill));
            let agents = plugin.agents.iter().map(|agent| (format!("agents/{}.md", agent.name), agent));
            let files =
                skills.chain(agents).map(|(path, file)| run::File { path, content: file.content.clone() });
            run::Plugin { name: plugin.name.clone(), files: files.collect() }
        })
        .collect()
}

/// Merges the servers of all AgentConfigs; a later one of the same name takes the place of an earlier one.
fn mcp_servers(order: &Order<'_>, secrets: &mut Secrets) -> Vec<run::McpServer> {
    let mut merged: Vec<&McpServer> = Vec::new();
    for server in order.agent_configs.iter().flat_map(|config| &config.mcp_servers) {
        match merged.iter_mut().find(|known| known.name == server.name) {
            Some(known) => *known = server,
            None => merged.push(server),
        }
    }
    merged
        .into_iter()
        .map(|server| {
            let values = |name: &str| {
                let data = order.secrets.get(name).and_then(|secret| secret.data.clone()).unwrap_or_default();
                let texts =
                    data.into_iter().filter_map(|(key, bytes)| Some((key, String::from_utf8(bytes.0).ok()?)));
                texts.map(|(key, text)| (key, Secret::new(text))).collect::<BTreeMap<_, _>>()
            };
            let own = run::McpSecrets {
                headers: server
                    .headers_from
                    .as_ref()
                    .map(|from| values(&from.secret_ref.name))
                    .unwrap_or_default(),
                env: server.env_from.as_ref().map(|from| values(&from.secret_ref.name)).unwrap_or_default(),
            };
            if own != run::McpSecrets::default() {
                secrets.mcp_servers.insert(server.name.clone(), own);
            }
            run::McpServer {
                name: server.name.clone(),
                kind: server.transport.as_str().to_owned(),
                command: server.command.clone(),
                args: server.args.clone(),
                url: server.url.clone(),
                headers: server.headers.clone(),
                env: server.env.clone(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_maps_to_the_program_that_is_configured_for_it() {
        let agents = [("registry:5000/me/agent", "/own"), ("me/agent:2", "/two"), ("codex", "/codex")];
        let machine = Machine {
            search_path: String::new(),
            mirrors: PathBuf::new(),
            proxies: BTreeMap::new(),
            git_environment: BTreeMap::new(),
            install_environment: BTreeMap::new(),
            private: Vec::new(),
            agents: agents.iter().map(|(name, path)| ((*name).to_owned(), PathBuf::from(path))).collect(),
            bounds: Bounds::default(),
        };
        for (kind, image, expected) in [
            ("codex", None, Ok(Some("/codex"))),
            ("gemini", None, Ok(None)),
            ("codex", Some("registry:5000/me/agent"), Ok(Some("/own"))),
            ("codex", Some("registry:5000/me/agent:1.2@sha256:00"), Ok(Some("/own"))),
            ("codex", Some("me/agent:2"), Ok(Some("/two"))),
            ("codex", Some("me/agent:3"), Err(Reason::ImageNeedsCluster)),
            ("codex", Some("registry"), Err(Reason::ImageNeedsCluster)),
        ] {
            let spec: TaskSpec =
                serde_json::from_value(json!({"type": kind, "prompt": "p", "image": image})).unwrap();
            let found = program(&spec, &machine).map_err(|obstacle| match obstacle {
                Obstacle::Refused(refusal) => refusal.reason,
                Obstacle::Missing(missing) => panic!("{missing:?}"),
            });
            assert_eq!(found, expected.map(|path| path.map(PathBuf::from)), "{image:?}");
        }
    }
}
