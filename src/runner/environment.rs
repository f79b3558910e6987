//! What an agent finds around itself: its variables, and the files in its home.
//!
//! Nothing is inherited. Variables of the plan and of the secrets come first, ours win over them, as upstream's do.
//! The home is made anew for each run and removed with it, because files in it may hold secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::run::{
    CHECKOUT_FOLDER, HOME_FOLDER, McpServer, Plan, RUN_VARIABLE, SKILLS_PLUGIN, Secrets, TEMPORARY_FOLDER,
    TOKEN_FILE, TOKEN_FOLDER, WORK_FOLDER,
};
use crate::file;
use crate::git::remote::RemoteUrl;
use crate::runner::agents::{AgentProgram, Wish};
use crate::runner::folder::Folder;
use crate::runner::parts;
use crate::runner::ssh::{self, SshServer};

/// Our own files in the agent's home.
const OWN_FOLDER: &str = ".kelos";
/// The longest value that is passed as a variable; the kernel's bound includes the name and both ends.
const LONGEST_VALUE: usize = 120 * 1024;
/// How much of an item is passed as variables; the kernel bounds all of them together at about 2 MiB. The file has it all.
const LARGEST_ITEM: usize = 512 * 1024;
/// Variables that would steer the runner's own steps if they could be set.
const DROPPED: &[&str] = &["KELOS_SETUP_COMMAND", "KELOS_SESSION_SETUP_ONLY", "LD_PRELOAD", "LD_AUDIT"];
/// Pseudo-identity for commits when the agent, its repository or its variables name none.
const GIT_CONFIG: &str =
    "[user]\n\tname = kelos\n\temail = kelos@localhost\n[init]\n\tdefaultBranch = main\n";

/// Where the parts of a run lie.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The agent's home.
    pub(super) home: PathBuf,
    /// Its folder for temporary files.
    pub(super) temporary: PathBuf,
    /// The folder it may write.
    pub(super) work: PathBuf,
    /// The folder it begins in: the checkout, or `work` itself.
    pub(super) start: PathBuf,
    /// The folders of the plugins, in the plan's order, then that of the installed skills.
    pub(super) plugins: Vec<PathBuf>,
    /// The folder with the token, which it may read.
    pub(super) token: PathBuf,
}

impl Layout {
    /// Returns where the parts of `plan` lie in `folder`.
    pub(super) fn of(plan: &Plan, folder: &Folder) -> Self {
        let home = folder.join(HOME_FOLDER);
        let work = folder.join(WORK_FOLDER);
        let start = if plan.workspace.is_some() { work.join(CHECKOUT_FOLDER) } else { work.clone() };
        let names = plan.plugins.iter().map(|plugin| plugin.name.as_str());
        let names = names.chain(plan.skills.iter().map(|_| SKILLS_PLUGIN));
        let plugins = names.map(|name| plugins_folder(&home).join(name)).collect();
        let token = folder.join(TOKEN_FOLDER);
        Self { temporary: folder.join(TEMPORARY_FOLDER), home, work, start, plugins, token }
    }
}

/// Returns the folder that holds the plugins of a run.
pub(super) fn plugins_folder(home: &Path) -> PathBuf {
    home.join(OWN_FOLDER).join("plugins")
}

/// Returns the settings by which git has, for `origin` alone, the token in the file `file`, which is a word of the shell. It
/// is read from there each time.
pub(super) fn credential_helper(origin: &str, file: &str) -> String {
    let password = format!("echo \\\"password=$(cat \\\"{file}\\\")\\\"");
    let helper =
        format!("!f() {{ test \\\"$1\\\" = get && echo username=x-access-token && {password}; }}; f");
    format!("[credential \"{origin}\"]\n\thelper = \n\thelper = \"{helper}\"\n")
}

/// What [`furnish`] made.
#[derive(Debug, Clone)]
pub(super) struct Furniture {
    /// The variables of setup and agent.
    pub(super) variables: BTreeMap<String, String>,
    /// The file with the prompt.
    pub(super) prompt_file: PathBuf,
    /// Whether there are servers of the Model Context Protocol.
    pub(super) has_servers: bool,
    /// The pipe into which the agent writes what it does not print.
    pub(super) side_channel: Option<PathBuf>,
}

/// Writes the files of the agent's home and returns its variables. `proxy` is the port of the way out on its loopback, where
/// that is the only one.
pub(super) fn furnish(
    plan: &Plan,
    secrets: &Secrets,
    layout: &Layout,
    agent: &dyn AgentProgram,
    proxy: Option<u16>,
) -> io::Result<Furniture> {
    let home = Home { path: layout.home.clone() };
    let mut variables = stated(plan, secrets);
    variables.extend(base(plan, layout));
    variables.extend(ours(plan, layout));
    variables.extend(proxy.into_iter().flat_map(proxy_variables));

    let prompt_file = home.write(&own("prompt"), &plan.agent.prompt)?;
    variables.insert("KELOS_PROMPT_FILE".to_owned(), text(&prompt_file));
    let mut git_config = GIT_CONFIG.to_owned();
    if let Some(token) = variables.get(TOKEN_FILE).cloned() {
        let provided = layout.token.join(TOKEN_FILE);
        let file = if secrets.environment.contains_key(TOKEN_FILE) {
            provided
        } else {
            home.write(&own("github-token/GITHUB_TOKEN"), &token)?
        };
        variables.insert("KELOS_GITHUB_TOKEN_FILE".to_owned(), text(&file));
        // Git asks for the token by host, and gets it for the host of the workspace alone.
        if let Some(host) = https_host(plan) {
            git_config.push_str(&credential_helper(&host, "$KELOS_GITHUB_TOKEN_FILE"));
        }
        if let Some(programs) = home.wrap_gh(plan)? {
            variables.insert("PATH".to_owned(), format!("{}:{}", text(&programs), plan.search_path));
        }
    }
    if let (Some(key), Some(server)) = (&secrets.ssh, SshServer::of(plan)) {
        // ssh refuses a key whose last line has no end.
        let identity =
            home.write(&own("ssh/identity"), &format!("{}\n", key.identity.expose().trim_end()))?;
        let known_hosts =
            home.write(&own("ssh/known_hosts"), &format!("{}\n", key.known_hosts.trim_end()))?;
        let settings = server.settings(&identity, &known_hosts, proxy.is_some())?;
        let command = ssh::command(&home.write(&own("ssh/config"), &settings)?)?;
        git_config.push_str(&format!("[core]\n\tsshCommand = \"{command}\"\n"));
    }
    if let Some((certificates, host)) = authority(plan) {
        let file = home.write(&own("authority.pem"), certificates)?;
        git_config.push_str(&format!("[http \"{host}\"]\n\tsslCAInfo = \"{}\"\n", text(&file)));
    }
    home.write(".gitconfig", &git_config)?;
    let servers = with_secrets(&plan.mcp_servers, secrets);
    let wish = Wish {
        home: &layout.home,
        variables: &variables,
        instructions: plan.agents_md.as_deref(),
        servers: &servers,
        model: plan.agent.model.as_deref(),
        effort: plan.agent.effort.as_deref(),
    };
    for file in agent.home(&wish) {
        home.write(file.path, &file.content)?;
    }
    for (name, value) in agent.variables(&wish) {
        match value {
            Some(value) => variables.insert(name, value),
            None => variables.remove(&name),
        };
    }
    parts::place(agent, layout)?;
    if agent.hides_git_settings()
        && let Some(programs) = home.wrap_git(plan)?
    {
        let path = variables.get("PATH").unwrap_or(&plan.search_path);
        let path = format!("{}:{path}", text(&programs));
        variables.insert("PATH".to_owned(), path);
    }
    if let Some(item) = plan.item.as_ref().filter(|_| agent.takes_item()) {
        let file = home.write(&own("item.json"), &item.to_string())?;
        variables.insert("KELOS_ITEM_FILE".to_owned(), text(&file));
        let mut room = LARGEST_ITEM;
        variables.extend(item_variables(item).into_iter().filter(|(_, value)| {
            let is_fitting = value.len() <= room;
            room -= if is_fitting { value.len() } else { 0 };
            is_fitting
        }));
    }
    variables
        .retain(|name, value| is_variable(name) && value.len() <= LONGEST_VALUE && !value.contains('\0'));
    let side_channel = agent.side_channel().map(|path| layout.home.join(path));
    Ok(Furniture { variables, prompt_file, has_servers: !servers.is_empty(), side_channel })
}

fn stated(plan: &Plan, secrets: &Secrets) -> BTreeMap<String, String> {
    let secret = secrets.environment.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let defaults = [
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("SHELL", "/bin/sh"),
        ("USER", "kelos"),
        ("LOGNAME", "kelos"),
    ];
    let mut variables: BTreeMap<String, String> =
        defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    variables.extend(plan.environment.clone());
    variables.extend(secret);
    variables.retain(|name, _| !DROPPED.contains(&name.as_str()));
    variables
}

fn base(plan: &Plan, layout: &Layout) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("PATH".to_owned(), plan.search_path.clone()),
        ("HOME".to_owned(), text(&layout.home)),
        ("TMPDIR".to_owned(), text(&layout.temporary)),
        ("GH_CONFIG_DIR".to_owned(), text(&layout.home.join(".gh-config"))),
        // No agent answers a question of git's.
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
    ])
}

fn ours(plan: &Plan, layout: &Layout) -> BTreeMap<String, String> {
    let workspace = plan.workspace.as_ref();
    let upstream_remote = || workspace?.remotes.iter().find(|remote| remote.name == "upstream");
    let plugins = (!layout.plugins.is_empty()).then(|| text(&plugins_folder(&layout.home)));
    [
        ("KELOS_AGENT_TYPE", Some(plan.agent.kind.clone())),
        ("KELOS_MODEL", plan.agent.model.clone()),
        ("KELOS_EFFORT", plan.agent.effort.clone()),
        ("KELOS_BRANCH", plan.branch.clone()),
        ("KELOS_TASKSPAWNER", plan.spawner.clone()),
        ("KELOS_BASE_BRANCH", workspace.and_then(|workspace| workspace.reference.clone())),
        (
            "KELOS_UPSTREAM_REPO",
            plan.upstream_repo.clone().or_else(|| owner_and_name(&upstream_remote()?.url)),
        ),
        ("KELOS_AGENTS_MD", plan.agents_md.clone()),
        ("KELOS_PLUGIN_DIR", plugins),
        ("KELOS_TASK", Some(plan.task.clone())),
        (RUN_VARIABLE, Some(plan.run.clone())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?)))
    .collect()
}

// Programs look for one spelling or another. Node looks at them only when it is told to.
fn proxy_variables(port: u16) -> impl Iterator<Item = (String, String)> {
    let proxy = format!("http://127.0.0.1:{port}");
    let own = "localhost,127.0.0.1,::1";
    [
        ("HTTP_PROXY", proxy.as_str()),
        ("HTTPS_PROXY", proxy.as_str()),
        ("NO_PROXY", own),
        ("NODE_USE_ENV_PROXY", "1"),
        ("http_proxy", proxy.as_str()),
        ("https_proxy", proxy.as_str()),
        ("no_proxy", own),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into_iter()
}

// `https://host:port` of the workspace.
fn https_host(plan: &Plan) -> Option<String> {
    let url = RemoteUrl::parse(&plan.workspace.as_ref()?.repo).ok()?;
    url.origin().filter(|_| url.takes_password())
}

// The certificates that are believed for the host of the workspace, and that host.
fn authority(plan: &Plan) -> Option<(&str, String)> {
    let certificates = plan.workspace.as_ref()?.authority.as_deref()?;
    Some((certificates, https_host(plan)?))
}

// `owner/name` at the end of a URL of a forge.
fn owner_and_name(url: &str) -> Option<String> {
    let url = RemoteUrl::parse(url).ok()?;
    let (owner, name) = url.owner_and_name()?;
    Some(format!("{owner}/{name}"))
}

fn with_secrets(servers: &[McpServer], secrets: &Secrets) -> Vec<McpServer> {
    let mut servers = servers.to_vec();
    for server in &mut servers {
        if let Some(secret) = secrets.mcp_servers.get(&server.name) {
            let shown =
                |(name, value): (&String, &crate::secret::Secret)| (name.clone(), value.expose().to_owned());
            server.headers.extend(secret.headers.iter().map(shown));
            server.env.extend(secret.env.iter().map(shown));
        }
    }
    servers
}

// `ReviewComments` becomes `KELOS_ITEM_REVIEW_COMMENTS`. Lists and objects are in the file alone.
fn item_variables(item: &Value) -> BTreeMap<String, String> {
    let Some(fields) = item.as_object() else { return BTreeMap::new() };
    fields
        .iter()
        .filter_map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((format!("KELOS_ITEM_{}", upper_snake(name)), value))
        })
        .collect()
}

fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    let mut was_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && was_lower {
            snake.push('_');
        }
        was_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        snake.push(if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' });
    }
    snake
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn own(name: &str) -> String {
    format!("{OWN_FOLDER}/{name}")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

struct Home {
    path: PathBuf,
}

impl Home {
    // A token may be replaced while the run goes on: git reads the file each time, and gh has to be made to.
    fn wrap_gh(&self, plan: &Plan) -> io::Result<Option<PathBuf>> {
        self.wrap("gh", plan, |gh| {
            format!(
                "GITHUB_TOKEN=$(cat \"$KELOS_GITHUB_TOKEN_FILE\") || exit\nexport GITHUB_TOKEN\n\
                 if test -n \"${{GH_ENTERPRISE_TOKEN-}}\"; then export GH_ENTERPRISE_TOKEN=\"$GITHUB_TOKEN\"\n\
                 else export GH_TOKEN=\"$GITHUB_TOKEN\"; fi\nexec '{gh}' \"$@\"\n"
            )
        })
    }

    // What is given on the command line of git counts last, so our settings are given there once more.
    fn wrap_git(&self, plan: &Plan) -> io::Result<Option<PathBuf>> {
        self.wrap("git", plan, |git| format!("exec '{git}' -c include.path=\"$HOME/.gitconfig\" \"$@\"\n"))
    }

    // Puts a script in the place of a program and returns the folder with it; nothing where there is no such program.
    fn wrap(
        &self,
        name: &str,
        plan: &Plan,
        script: impl FnOnce(&str) -> String,
    ) -> io::Result<Option<PathBuf>> {
        let program = crate::process::find(name, plan.search_path.as_ref());
        let program = program.as_ref().and_then(|program| program.to_str());
        let Some(program) = program.filter(|program| !program.contains('\'')) else { return Ok(None) };
        let path = self.write(&own(&format!("bin/{name}")), &format!("#!/bin/sh\n{}", script(program)))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path.parent().map(Path::to_path_buf))
    }

    // The home is written before anything of the agent's side runs, so no link can lie in the way.
    fn write(&self, path: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.path.join(path);
        file::make_private_folder(path.parent().unwrap_or(&self.path))?;
        file::create_private(&path)?.write_all(content.as_bytes())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runner::agents::by_kind;
    use crate::secret::Secret;

    fn plan(value: &Value) -> Plan {
        let mut plan = json!({
            "version": 1, "run": "u", "namespace": "default", "task": "t", "searchPath": "/usr/bin:/bin",
            "agent": {"type": "shell", "prompt": "true"}
        });
        plan.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(plan).unwrap()
    }

    fn furnished(plan: &Plan, secrets: &Secrets) -> (tempfile::TempDir, Furniture) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        folder.make(HOME_FOLDER).unwrap();
        if let Some(token) = secrets.environment.get(TOKEN_FILE) {
            fs::write(folder.make(TOKEN_FOLDER).unwrap().join(TOKEN_FILE), token.expose()).unwrap();
        }
        let furniture =
            furnish(plan, secrets, &Layout::of(plan, &folder), by_kind(&plan.agent.kind), None).unwrap();
        (temporary, furniture)
    }

    #[test]
    fn our_variables_win_and_steering_ones_are_dropped() {
        let plan = plan(&json!({
            "branch": "kelos/7", "spawner": "s",
            "environment": {"KELOS_BRANCH": "forged", "HOME": "/root", "LD_PRELOAD": "x", "KEPT": "1", "LANG": "de_DE"}
        }));
        let mut secrets = Secrets::default();
        secrets.environment.insert("KEY".to_owned(), Secret::new("k"));
        let (temporary, Furniture { variables, .. }) = furnished(&plan, &secrets);
        assert_eq!(variables["KELOS_BRANCH"], "kelos/7");
        assert_eq!(variables["KELOS_TASKSPAWNER"], "s");
        assert_eq!(variables["KELOS_AGENT_TYPE"], "shell");
        assert!(variables["HOME"].starts_with(temporary.path().canonicalize().unwrap().to_str().unwrap()));
        assert_eq!((variables["KEPT"].as_str(), variables["KEY"].as_str()), ("1", "k"));
        assert_eq!(variables["LANG"], "de_DE");
        assert!(!variables.contains_key("LD_PRELOAD") && !variables.contains_key("KELOS_MODEL"));
    }

    #[test]
    fn an_item_reaches_a_script_byte_for_byte() {
        let item = json!({
            "ID": "7", "ReviewComments": "$(rm -rf /)\n'\"", "Number": 7, "Draft": false,
            "Payload": {"a": 1}, "Nul": "a\u{0}b", "Long": "x".repeat(200_000)
        });
        let (_temporary, Furniture { variables, .. }) =
            furnished(&plan(&json!({"item": item})), &Secrets::default());
        assert_eq!(variables["KELOS_ITEM_REVIEW_COMMENTS"], "$(rm -rf /)\n'\"");
        assert_eq!(variables["KELOS_ITEM_ID"], "7");
        assert_eq!(variables["KELOS_ITEM_DRAFT"], "false");
        for only_in_file in ["KELOS_ITEM_PAYLOAD", "KELOS_ITEM_NUL", "KELOS_ITEM_LONG"] {
            assert!(!variables.contains_key(only_in_file), "{only_in_file}");
        }
        let file = fs::read_to_string(&variables["KELOS_ITEM_FILE"]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), item);
    }

    #[test]
    fn secrets_of_servers_win_over_the_plan() {
        let plan = plan(&json!({
            "agent": {"type": "claude-code", "prompt": "p"},
            "mcpServers": [{"name": "s", "type": "http", "url": "https://h", "headers": {"A": "plain", "B": "b"}}],
            "agentsMd": "Be kind."
        }));
        let mut secrets = Secrets::default();
        secrets
            .mcp_servers
            .entry("s".to_owned())
            .or_default()
            .headers
            .insert("A".to_owned(), Secret::new("secret"));
        let (temporary, furniture) = furnished(&plan, &secrets);
        let told: Value =
            serde_json::from_str(&fs::read_to_string(temporary.path().join("home/.kelos/mcp.json")).unwrap())
                .unwrap();
        assert!(furniture.has_servers);
        assert_eq!(told["mcpServers"]["s"]["headers"], json!({"A": "secret", "B": "b"}));
        assert!(!furniture.variables.values().any(|value| value.contains("secret")));
        let instructions = temporary.path().join("home/.claude/CLAUDE.md");
        assert_eq!(fs::read_to_string(instructions).unwrap(), "Be kind.");
    }

    #[test]
    fn git_keeps_our_settings_where_an_agent_hides_them() {
        let plan = plan(&json!({
            "agent": {"type": "gemini", "prompt": "p"}, "workspace": {"repo": "https://forge.example/o/n", "mirror": "/m"}
        }));
        let mut secrets = Secrets::default();
        secrets.environment.insert("GITHUB_TOKEN".to_owned(), Secret::new("t0ken"));
        let (_temporary, furniture) = furnished(&plan, &secrets);
        let git = crate::process::find("git", furniture.variables["PATH"].as_ref()).unwrap();
        // The variables that Gemini CLI 0.61 adds.
        let hidden = [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "credential.helper"),
            ("GIT_CONFIG_VALUE_0", ""),
        ];
        let mut command = crate::process::command(git);
        command.envs(&furniture.variables).envs(hidden).args(["credential", "fill"]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let question = b"protocol=https\nhost=forge.example\n\n";
        child.stdin.take().unwrap().write_all(question).unwrap();
        let answer = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(answer.contains("password=t0ken\n"), "{answer}");
    }

    #[test]
    fn git_gets_the_token_for_the_host_of_the_workspace_and_for_no_other() {
        let plan =
            plan(&json!({"workspace": {"repo": "https://forge.example:8443/o/n.git", "mirror": "/m"}}));
        let mut secrets = Secrets::default();
        secrets.environment.insert("GITHUB_TOKEN".to_owned(), Secret::new("t0k$en"));
        let (_temporary, furniture) = furnished(&plan, &secrets);
        let ask = |host: &str| {
            let git = crate::process::find("git", "/usr/bin:/bin".as_ref()).unwrap();
            let mut child = crate::process::command(git)
                .args(["credential", "fill"])
                .envs(&furniture.variables)
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let question = format!("protocol=https\nhost={host}\n\n");
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), question.as_bytes()).unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        };
        let answer = ask("forge.example:8443");
        assert!(answer.contains("username=x-access-token\npassword=t0k$en\n"), "{answer}");
        for other in ["forge.example", "github.com", "forge.example:8443.evil.example"] {
            assert!(!ask(other).contains("t0k$en"), "{other}");
        }
    }

    #[test]
    fn the_upstream_repository_is_named_by_the_remote_of_that_name() {
        for (url, expected) in [
            ("https://github.com/kelos-dev/kelos.git", Some("kelos-dev/kelos")),
            ("git@github.com:kelos-dev/kelos", Some("kelos-dev/kelos")),
            ("https://host:8443/a/b.c/", Some("a/b.c")),
            ("nothing", None),
            ("https://user:password@host/a/b", None),
        ] {
            assert_eq!(owner_and_name(url).as_deref(), expected, "{url}");
        }
    }
}
