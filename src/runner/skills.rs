//! The step that installs packages of skills.sh, with the installer that upstream uses: `npx skills add`.
//!
//! The installer, and what it downloads, is a program of others. It runs in the sandbox of the run, in a home of its own
//! that is thrown away; only what it leaves under the names of skills goes on to the agent, as a plugin.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::api::run::{
    CLAIMS_FILE, Claims, Exit, FORMAT_VERSION, Network, Plan, RUN_VARIABLE, SKILLS_PLUGIN, Sandbox,
    SandboxLevel, Secrets, SkillPackage, Skills,
};
use crate::file;
use crate::git::remote::RemoteUrl;
use crate::process::{self, FinishError};
use crate::runner::RunnerError;
use crate::runner::environment::{Layout, credential_helper, plugins_folder};
use crate::runner::exec::{end_with_the_runner, read_secrets, say, shortfall, write_claims};
use crate::runner::folder::Folder;
use crate::runner::sandbox::{self, Grants};
use crate::secret::Secret;

/// How long one package may take; the deadline of the run may be shorter.
const PATIENCE: Duration = Duration::from_mins(10);
/// How much of what the installer says is kept, in bytes.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// Where packages lie whose source is `owner/repo`.
const GITHUB: &str = "https://github.com";
/// The file with the token, in the home of the installer.
const TOKEN: &str = ".token";
/// Where the installer puts skills for no agent in particular, in its home.
const INSTALLED: &str = ".agents/skills";

/// Why the skills are not there.
#[derive(Debug, thiserror::Error)]
enum SkillsError {
    #[error(
        "skills packages are installed with npx, which is not in {search_path}; install Node.js, or put the skill into a plugin of the AgentConfig"
    )]
    NoInstaller { search_path: String },
    #[error("{0:?} cannot be the source of a skills package")]
    Source(String),
    #[error(
        "the skills package {0:?} has a token, and its source is neither OWNER/REPOSITORY nor an https:// URL to whose host the token could go"
    )]
    NoPlace(String),
    #[error("the skills package {source_name} was not installed: {reason}")]
    Failed { source_name: String, reason: String },
    #[error("the skills package {source_name} brings no skill{}", .skill.as_ref().map(|skill| format!(" {skill}")).unwrap_or_default())]
    Nothing { source_name: String, skill: Option<String> },
    #[error("two skills packages bring a skill of the name {0:?}")]
    Twice(String),
    #[error("the skills cannot be put in place: {0}")]
    System(#[from] io::Error),
}

/// Carries out the step; see [`crate::runner::install_skills`].
pub(super) fn install(folder: &Folder) -> Result<u8, RunnerError> {
    end_with_the_runner()?;
    let plan = folder.plan()?;
    let secrets = read_secrets()?;
    let places = Places::of(&Layout::of(&plan, folder));
    let claims = file::create_private(&folder.join(CLAIMS_FILE))
        .map_err(RunnerError::system("make the file for the claims"))?;
    let (exit, message) = match restricted(&plan, &places) {
        Ok(None) => match add_all(&plan, &secrets, &places) {
            Ok(()) => return Ok(0),
            Err(fault) => (Exit::PrepareFailed, fault.to_string()),
        },
        Ok(Some(shortfall)) => (Exit::SandboxUnavailable, shortfall),
        Err(fault) => (Exit::SandboxUnavailable, format!("the sandbox cannot be made: {fault}")),
    };
    say(&message);
    let said = Claims { version: FORMAT_VERSION, exit: Some(exit), message, ..Claims::default() };
    write_claims(claims, &said).map_err(RunnerError::system("write the claims"))?;
    Ok(1)
}

/// Where the installer works and where its skills go, which is all that it may write: what else lies in the home of the run
/// is believed by the agent.
struct Places {
    /// The folder with the homes of the installer, one for each package. The runner removes it.
    scratch: PathBuf,
    /// The skills of the plugin.
    target: PathBuf,
}

impl Places {
    fn of(layout: &Layout) -> Self {
        let plugin = plugins_folder(&layout.home).join(SKILLS_PLUGIN);
        Self { scratch: layout.temporary.join(SKILLS_PLUGIN), target: plugin.join("skills") }
    }
}

/// Restricts this process as the agent will be, but for the network, which the installer needs, and for what it may write.
fn restricted(plan: &Plan, places: &Places) -> io::Result<Option<String>> {
    let programs: Vec<PathBuf> = process::find("npx", plan.search_path.as_ref()).into_iter().collect();
    let writable = vec![places.scratch.clone(), places.target.clone()];
    for folder in &writable {
        file::make_private_folder(folder)?;
    }
    let grants = Grants::of(&plan.sandbox, &plan.search_path, &programs, writable);
    sandbox::limit(&plan.limits)?;
    // An enclosure is made for agents alone; below it, this step is held as they are.
    let minimum = plan.sandbox.minimum.min(SandboxLevel::Isolated);
    let open = Sandbox { network: Network::Open, minimum, ..plan.sandbox.clone() };
    let (level, network) = sandbox::restrict(&grants, &open)?;
    Ok(shortfall(level, network, &open))
}

fn add_all(plan: &Plan, secrets: &Secrets, Places { scratch, target }: &Places) -> Result<(), SkillsError> {
    let Some(skills) = &plan.skills else { return Ok(()) };
    let npx = process::find("npx", plan.search_path.as_ref())
        .ok_or_else(|| SkillsError::NoInstaller { search_path: plan.search_path.clone() })?;
    for (number, package) in skills.packages.iter().enumerate() {
        let home = scratch.join(number.to_string());
        file::make_private_folder(&home)?;
        let mut command = process::command(&npx);
        command.envs(secrets.proxies.iter().map(|(name, value)| (name, value.expose())));
        let token = secrets.skill_tokens.get(&package.source);
        if let Some(token) = token {
            give_token(&mut command, &package.source, token, &home)?;
        }
        add(command, plan, skills, package, token, &home, &scratch.join("npm"))?;
        take_over(package, &home.join(INSTALLED), target)?;
        // What the next installer finds is no token of another.
        file::remove_tree(&home)?;
    }
    Ok(())
}

/// Lets the git of the installer, and the installer itself, have the token for the host of the package and for no other.
fn give_token(command: &mut Command, source: &str, token: &Secret, home: &Path) -> Result<(), SkillsError> {
    let no_place = || SkillsError::NoPlace(source.to_owned());
    let origin = if is_short(source) {
        GITHUB.to_owned()
    } else {
        let url = RemoteUrl::parse(source).map_err(|_| no_place())?;
        url.origin().filter(|_| url.takes_password()).ok_or_else(no_place)?
    };
    file::create_private(&home.join(TOKEN))?.write_all(token.expose().as_bytes())?;
    let settings = credential_helper(&origin, &format!("$HOME/{TOKEN}"));
    file::create_private(&home.join(".gitconfig"))?.write_all(settings.as_bytes())?;
    if origin == GITHUB {
        // It asks the API of GitHub for what git does not tell.
        command.env("GITHUB_TOKEN", token.expose());
    }
    Ok(())
}

// `owner/repo`, with or without more of a path, is a repository of GitHub.
fn is_short(source: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@' | b'#'))
    };
    source.contains('/') && !source.starts_with('.') && source.split('/').all(is_part)
}

/// Runs the installer for one package, with `home` as its home folder.
fn add(
    mut command: Command,
    plan: &Plan,
    skills: &Skills,
    package: &SkillPackage,
    token: Option<&Secret>,
    home: &Path,
    cache: &Path,
) -> Result<(), SkillsError> {
    let source = package.source.as_str();
    let skill = package.skill.as_deref().filter(|skill| !skill.is_empty());
    for text in [Some(source), skill].into_iter().flatten() {
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(SkillsError::Source(text.to_owned()));
        }
    }
    command.args(["-y", "skills", "add", source, "-a", "universal", "-y", "-g"]);
    command.args(skill.into_iter().flat_map(|skill| ["-s", skill]));
    command
        .current_dir(home)
        .envs(&skills.environment)
        .env(RUN_VARIABLE, &plan.run)
        .env("PATH", &plan.search_path)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("npm_config_cache", cache)
        .env("npm_config_update_notifier", "false")
        .env("DISABLE_TELEMETRY", "1")
        .env("CI", "1")
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let failed = |reason: String| SkillsError::Failed { source_name: source.to_owned(), reason };
    let finished = process::finish(&mut command, PATIENCE, OUTPUT_LIMIT, &AtomicBool::new(false));
    let finished = finished.map_err(|error| match error {
        FinishError::TimedOut(time) => failed(format!("npx took longer than {} s", time.as_secs())),
        FinishError::Interrupted => failed("npx was stopped".to_owned()),
        FinishError::Start(fault) => failed(format!("npx cannot be started: {fault}")),
    })?;
    for output in [&finished.stdout, &finished.stderr] {
        let text = String::from_utf8_lossy(output);
        let text = token.map_or_else(|| text.to_string(), |token| text.replace(token.expose(), "<secret>"));
        let text: String =
            text.chars().filter(|character| *character == '\n' || !character.is_control()).collect();
        if !text.trim().is_empty() {
            say(text.trim_end());
        }
    }
    if finished.status.success() {
        return Ok(());
    }
    // What npx said is in the log: it may be a word of the package's author.
    Err(failed(format!("npx ended with {}; the log of the run has its words", finished.status)))
}

/// Moves what was installed to where the agent finds it.
fn take_over(package: &SkillPackage, installed: &Path, target: &Path) -> Result<(), SkillsError> {
    let nothing =
        || SkillsError::Nothing { source_name: package.source.clone(), skill: package.skill.clone() };
    // A link would lead out of the folder that is thrown away.
    if !installed.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(nothing());
    }
    let mut any = false;
    for entry in fs::read_dir(installed)? {
        let entry = entry?;
        let place = target.join(entry.file_name());
        if place.symlink_metadata().is_ok() {
            return Err(SkillsError::Twice(entry.file_name().to_string_lossy().into_owned()));
        }
        if entry.file_type()?.is_dir() {
            fs::rename(entry.path(), place)?;
            any = true;
        }
    }
    if any { Ok(()) } else { Err(nothing()) }
}
