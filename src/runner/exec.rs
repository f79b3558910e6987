//! The executing step: restrict this process, run the setup command, run the agent, say how it went.
//!
//! Everything here is on the agent's side. Where the host allows it, the step makes an enclosure, and what is described here
//! happens inside; else it happens in the step itself. The file for the claims is opened before the restriction and lies where
//! the agent cannot write, and this process cannot be traced by it; still, what is written is a claim.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustix::process::{
    Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};

use crate::api::run::{
    CLAIMS_FILE, Claims, ENDING_FILE, Exit, FORMAT_VERSION, Network, NetworkHold, Plan, Sandbox,
    SandboxLevel, Secrets, Workspace,
};
use crate::file;
use crate::git::remote::RemoteUrl;
use crate::process;
use crate::runner::RunnerError;
use crate::runner::agents::report::values::usage_in_results;
use crate::runner::agents::report::{Completion, Reader, Report};
use crate::runner::agents::version::{self, Version};
use crate::runner::agents::{self, AgentProgram, Call};
use crate::runner::capture::{Ask as _, Commands, capture};
use crate::runner::children::Children;
use crate::runner::enclosure;
use crate::runner::environment::{Furniture, Layout, furnish};
use crate::runner::folder::Folder;
use crate::runner::lines::Lines;
use crate::runner::outputs;
use crate::runner::sandbox::{self, Grants};
use crate::runner::side_channel::SideChannel;

/// The most that is read as secrets, in bytes.
const LARGEST_SECRETS: u64 = 16 * 1024 * 1024;
/// How long the agent's output is read after the agent has ended: a process it left may hold the pipe and go on.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the pipe must be empty after the agent has ended until nothing more is waited for.
const SILENCE: Duration = Duration::from_millis(50);

/// Carries out the step; see [`crate::runner::exec`].
pub(super) fn exec(folder: &Folder) -> Result<u8, RunnerError> {
    end_with_the_runner()?;
    let plan = folder.plan()?;
    let secrets = read_secrets()?;
    close_to_others()?;
    // Before an enclosure, in which the processes of the user cannot be counted; it inherits them.
    sandbox::limit(&plan.limits).map_err(RunnerError::system("set the limits"))?;
    if plan.sandbox.maximum >= SandboxLevel::Enclosed {
        match enclosure::make(folder).map_err(RunnerError::system("make an enclosure"))? {
            Ok(enclosure) => {
                let status = enclosure.run(&plan, &secrets);
                return Ok(code(status.map_err(RunnerError::system("run the agent's side"))?));
            }
            Err(reason) => say(&format!("kelos: this host has no enclosure for the run: {reason}")),
        }
    }
    let claims_file = open_claims(folder)?;
    let layout = Layout::of(&plan, folder);
    let surroundings = Surroundings { enclosed_in: None, proxy: None, ending: open_ending(folder)? };
    finish(&carry_out(&plan, &secrets, &layout, &surroundings), claims_file)
}

/// Carries out the part of the step that is inside an enclosure; see [`crate::runner::enter`].
pub(super) fn enter(folder: &Folder) -> Result<u8, RunnerError> {
    let plan = folder.plan()?;
    let layout = Layout::of(&plan, folder);
    let (claims_file, ending) = (open_claims(folder)?, open_ending(folder)?);
    // One that is missing is told by the side outside, when there is no enclosure.
    let program = agents::lookup(&plan.agent, &plan.search_path, plan.workspace.is_some()).ok();
    let grants = grants(&plan, &layout, program.as_deref());
    let inside = enclosure::enter(folder, &plan, &layout, &grants)
        .map_err(RunnerError::system("make an enclosure"))?;
    let Some(inside) = inside else { return Ok(1) };
    close_to_others()?;
    let surroundings = Surroundings { enclosed_in: Some(grants), proxy: inside.proxy, ending };
    finish(&carry_out(&plan, &inside.secrets, &layout, &surroundings), claims_file)
}

fn close_to_others() -> Result<(), RunnerError> {
    process::close_to_others().map_err(RunnerError::system("close this process to others"))
}

fn open_claims(folder: &Folder) -> Result<File, RunnerError> {
    file::create_private(&folder.join(CLAIMS_FILE))
        .map_err(RunnerError::system("make the file for the claims"))
}

fn open_ending(folder: &Folder) -> Result<File, RunnerError> {
    File::open(folder.join(ENDING_FILE)).map_err(RunnerError::system("open the file that tells the end"))
}

fn finish((claims, code): &(Claims, u8), claims_file: File) -> Result<u8, RunnerError> {
    let claims = Claims { version: FORMAT_VERSION, ..claims.clone() };
    write_claims(claims_file, &claims).map_err(RunnerError::system("write the claims"))?;
    Ok(*code)
}

/// What is around the agent's side.
#[derive(Debug)]
struct Surroundings {
    // What there is in its enclosure; none without one.
    enclosed_in: Option<Grants>,
    // The port of the proxy on its loopback.
    proxy: Option<u16>,
    // As long as it is empty, nobody asked for the end of the run.
    ending: File,
}

impl Surroundings {
    // What there is to say in place of starting something when the end was asked for.
    fn end(&self) -> Option<(Claims, u8)> {
        let is_asked_for = self.ending.metadata().is_ok_and(|metadata| metadata.len() > 0);
        is_asked_for.then(|| refusal(Exit::Cancelled, "the run was ended before its agent began".to_owned()))
    }
}

/// Makes this step end with the runner, without which nobody would end what it starts in time.
pub(super) fn end_with_the_runner() -> Result<(), RunnerError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| RunnerError::system("ask to end with the runner")(errno.into()))
}

/// Reads the secrets from standard input; nothing there means none.
pub(super) fn read_secrets() -> Result<Secrets, RunnerError> {
    let mut text = String::new();
    io::stdin()
        .take(LARGEST_SECRETS)
        .read_to_string(&mut text)
        .map_err(RunnerError::system("read the secrets"))?;
    if text.trim().is_empty() {
        return Ok(Secrets::default());
    }
    // The source of the error is dropped: it could quote what must not be shown.
    serde_json::from_str(&text)
        .map_err(|_| RunnerError::system("understand the secrets")(io::ErrorKind::InvalidData.into()))
}

/// Writes the claims into a file that was opened before the restriction.
///
/// What was paid for is not given up because the disk is full: as long as it is, the run is not over.
pub(super) fn write_claims(file: File, claims: &Claims) -> io::Result<()> {
    let text = serde_json::to_vec(claims)?;
    let write = || {
        file.write_all_at(&text, 0)?;
        file.sync_all()
    };
    loop {
        match write() {
            Err(fault)
                if matches!(fault.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                thread::sleep(Duration::from_secs(1));
            }
            other => return other,
        }
    }
}

fn carry_out(plan: &Plan, secrets: &Secrets, layout: &Layout, surroundings: &Surroundings) -> (Claims, u8) {
    let agent = agents::of(&plan.agent);
    let program = match agents::lookup(&plan.agent, &plan.search_path, plan.workspace.is_some()) {
        Ok(program) => program,
        Err(missing) => return refusal(Exit::AgentProgramMissing, missing.to_string()),
    };
    let (level, network) = match restrict(plan, layout, &program, surroundings) {
        Ok(reached) => reached,
        Err(fault) => {
            return refusal(Exit::SandboxUnavailable, format!("the sandbox cannot be made: {fault}"));
        }
    };
    let held = |(claims, code): (Claims, u8)| {
        (Claims { sandbox: Some(level), network: Some(network), ..claims }, code)
    };
    if let Some(message) = shortfall(level, network, &plan.sandbox) {
        return held(refusal(Exit::SandboxUnavailable, message));
    }
    // After the restriction: a thread that was there before would not be under it.
    let children =
        if surroundings.enclosed_in.is_some() { Children::with_inherited() } else { Children::default() };
    let furniture = match furnish(plan, secrets, layout, agent, surroundings.proxy) {
        Ok(furniture) => furniture,
        Err(fault) => {
            return held(refusal(Exit::PrepareFailed, format!("the home cannot be made: {fault}")));
        }
    };
    let version = version(plan, layout, agent, &program, &furniture, &children);
    if let Some(message) = version.and_then(|version| outdated(agent, &program, version)) {
        return held(refusal(Exit::AgentProgramMissing, message));
    }
    let (claims, code) = surroundings
        .end()
        .or_else(|| set_up(plan, layout, &furniture, &children))
        .or_else(|| surroundings.end())
        .unwrap_or_else(|| work(plan, layout, agent, &program, &furniture, &children));
    held((Claims { agent_version: version.map(|version| version.to_string()), ..claims }, code))
}

// A program that does not say its version may be any; what it cannot do it says itself.
fn version(
    plan: &Plan,
    layout: &Layout,
    agent: &dyn AgentProgram,
    program: &Path,
    furniture: &Furniture,
    children: &Children,
) -> Option<Version> {
    if agent.takes_item() {
        return None;
    }
    if let Some(version) = version::of_package(program) {
        return Some(version);
    }
    // A program of another name may be anything, and take a question for an order.
    if program.file_name()? != agent.program() {
        return None;
    }
    let mut commands = Commands {
        folder: &layout.work,
        variables: &furniture.variables,
        search_path: &plan.search_path,
        children,
    };
    version::first_in(&commands.ask(program.to_str()?, &["--version"])?)
}

fn outdated(agent: &dyn AgentProgram, program: &Path, version: Version) -> Option<String> {
    let oldest = agent.oldest().filter(|oldest| version < *oldest)?;
    Some(format!(
        "{} is version {version} of {}; {oldest} or later is needed, update it",
        program.display(),
        agent.program()
    ))
}

fn refusal(exit: Exit, message: String) -> (Claims, u8) {
    say(&message);
    (Claims { exit: Some(exit), message, ..Claims::default() }, 1)
}

fn grants(plan: &Plan, layout: &Layout, program: Option<&Path>) -> Grants {
    let writable = vec![layout.work.clone(), layout.home.clone(), layout.temporary.clone()];
    let programs: Vec<PathBuf> = program.map(Path::to_path_buf).into_iter().collect();
    let mut grants = Grants::of(&plan.sandbox, &plan.search_path, &programs, writable);
    grants.readable.push(layout.token.clone());
    for url in plan.workspace.iter().flat_map(Workspace::urls) {
        if let Some(path) = RemoteUrl::parse(url).ok().as_ref().and_then(RemoteUrl::local_path) {
            grants.allow_pushes(path);
        }
    }
    grants
}

fn restrict(
    plan: &Plan,
    layout: &Layout,
    program: &Path,
    surroundings: &Surroundings,
) -> io::Result<(SandboxLevel, NetworkHold)> {
    let Some(grants) = &surroundings.enclosed_in else {
        return sandbox::restrict(&grants(plan, layout, Some(program)), &plan.sandbox);
    };
    let mut grants = grants.clone();
    // Terminals as well: there they are the run's own.
    grants.writable.extend(["/tmp", "/var/tmp", "/dev/pts"].map(PathBuf::from));
    // What is reachable is so by the network that it has, not by ports.
    let sandbox = Sandbox { network: Network::Open, ..plan.sandbox.clone() };
    let (level, _) = sandbox::restrict(&grants, &sandbox)?;
    Ok(match plan.sandbox.network {
        // Abstract sockets belong to a network, and this one is the machine's.
        Network::Open if level < SandboxLevel::Isolated => (SandboxLevel::Files, NetworkHold::Open),
        Network::Open => (SandboxLevel::Enclosed, NetworkHold::Open),
        Network::Guarded => (SandboxLevel::Enclosed, NetworkHold::Proxied),
        Network::Closed => (SandboxLevel::Enclosed, NetworkHold::Closed),
    })
}

/// Returns what is wrong when what was reached is less than the run needs.
pub(super) fn shortfall(level: SandboxLevel, network: NetworkHold, sandbox: &Sandbox) -> Option<String> {
    if level < sandbox.minimum {
        return Some(format!(
            "the run needs the sandbox {} and this host reaches {}; docs/sandbox.md says what each needs",
            sandbox.minimum.as_str(),
            level.as_str()
        ));
    }
    (sandbox.network == Network::Closed && network < NetworkHold::Closed).then(|| {
        "the run is to reach nobody, and this host can close the network in an enclosure only; docs/sandbox.md says what that needs".to_owned()
    })
}

// Returns how it went when the agent must not be started.
fn set_up(plan: &Plan, layout: &Layout, furniture: &Furniture, children: &Children) -> Option<(Claims, u8)> {
    let (name, arguments) = plan.workspace.as_ref()?.setup_command.split_first()?;
    say("---KELOS_SETUP_COMMAND_START---");
    // A path is meant in the checkout, a name is looked up.
    let path = if name.contains('/') { layout.start.join(name) } else { PathBuf::from(name) };
    let status = process::find(&path.to_string_lossy(), plan.search_path.as_ref())
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .and_then(|program| {
            children.spawn(command(&program, layout, furniture).args(arguments).stdout(own_stdout()?))
        })
        .and_then(|mut child| children.wait(&mut child));
    match status {
        Ok(status) if status.success() => {
            say("---KELOS_SETUP_COMMAND_DONE---");
            None
        }
        Ok(status) => {
            say("---KELOS_SETUP_COMMAND_FAILED---");
            let claims = ended("the setup command", status, Exit::SetupFailed);
            let code = code(status);
            Some((claims, code))
        }
        Err(fault) => {
            say("---KELOS_SETUP_COMMAND_FAILED---");
            Some(refusal(Exit::SetupFailed, format!("the setup command cannot be started: {fault}")))
        }
    }
}

fn work(
    plan: &Plan,
    layout: &Layout,
    agent: &dyn AgentProgram,
    program: &Path,
    furniture: &Furniture,
    children: &Children,
) -> (Claims, u8) {
    let (status, report) = match run_agent(plan, layout, agent, program, furniture, children) {
        Ok(ended) => ended,
        Err(fault) => {
            return refusal(Exit::AgentFailed, format!("the agent cannot be started: {fault}"));
        }
    };
    let mut claims = judge(status, &report);
    let variable = |name: &str| furniture.variables.get(name).map(String::as_str);
    let captured = if plan.workspace.is_some() {
        let mut commands = Commands {
            folder: &layout.start,
            variables: &furniture.variables,
            search_path: variable("PATH").unwrap_or(&plan.search_path),
            children,
        };
        capture(&mut commands, variable("KELOS_BASE_BRANCH"), variable("KELOS_UPSTREAM_REPO"))
    } else {
        Vec::new()
    };
    fill(&mut claims, &report, captured);
    print_block(&claims.outputs);
    let code = match claims.exit {
        Some(Exit::AgentIncomplete) => 1,
        _ => code(status),
    };
    (claims, code)
}

fn run_agent(
    plan: &Plan,
    layout: &Layout,
    agent: &dyn AgentProgram,
    program: &Path,
    furniture: &Furniture,
    children: &Children,
) -> io::Result<(ExitStatus, Report)> {
    let invocation = agent.invocation(&Call {
        prompt: &plan.agent.prompt,
        model: plan.agent.model.as_deref(),
        effort: plan.agent.effort.as_deref(),
        prompt_file: &furniture.prompt_file,
        plugins: &layout.plugins,
        home: &layout.home,
        has_servers: furniture.has_servers,
    });
    let mut command = command(program, layout, furniture);
    command.args(&invocation.arguments).envs(&invocation.environment).stdout(Stdio::piped());
    if invocation.input.is_some() {
        command.stdin(Stdio::piped());
    }
    let reader = Arc::new(Mutex::new(agents::reader(&plan.agent)));
    let side_channel =
        furniture.side_channel.as_ref().map(|path| SideChannel::open(path, &reader)).transpose()?;
    let mut child = children.spawn(&mut command)?;
    feed(&mut child, invocation.input);
    let listening = listen(&mut child, &reader)?;
    let status = children.wait(&mut child)?;
    listening.finish();
    if let Some(side_channel) = side_channel {
        side_channel.finish();
    }
    let report = reader.lock().unwrap_or_else(PoisonError::into_inner).report();
    Ok((status, report))
}

fn command(program: &Path, layout: &Layout, furniture: &Furniture) -> Command {
    let mut command = process::command(program);
    // A group of its own: what an agent sends to its group does not reach us.
    command.envs(&furniture.variables).current_dir(&layout.start).stderr(Stdio::inherit()).process_group(0);
    command
}

fn feed(child: &mut Child, input: Option<String>) {
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // An agent that does not read its whole prompt says so itself.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }
}

/// The thread that reads what the agent prints.
struct Listening {
    // Closed by the thread when the pipe is at its end.
    ended: mpsc::Receiver<()>,
    pipe: OwnedFd,
}

impl Listening {
    // Waits until everything that the agent printed was read.
    fn finish(self) {
        let until = Instant::now() + PATIENCE;
        let mut was_empty = false;
        while self.ended.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) && Instant::now() < until {
            let is_empty = rustix::io::ioctl_fionread(&self.pipe).is_ok_and(|bytes| bytes == 0);
            if is_empty && was_empty {
                return;
            }
            was_empty = is_empty;
        }
    }
}

// Passes on what the agent prints, and shows the lines to `reader`. An agent that is lost is ended.
fn listen(child: &mut Child, reader: &Arc<Mutex<Box<dyn Reader>>>) -> io::Result<Listening> {
    let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let pipe = output.as_fd().try_clone_to_owned()?;
    let mut log = own_stdout()?;
    let agent = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
    let reader = Arc::clone(reader);
    let (sender, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut lines = Lines::default();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default();
            // The log is behind this pipe; the agent is not held up when nobody reads it.
            drop(log.write_all(bytes));
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            lines.take(bytes, |line| reader.line(line));
            if let Some(agent) = agent.as_ref().filter(|_| reader.is_lost()) {
                // When this fails, it has ended by itself.
                pidfd_send_signal(agent, Signal::KILL).ok();
            }
        }
        lines.end(|line| reader.lock().unwrap_or_else(PoisonError::into_inner).line(line));
        drop(sender);
    });
    Ok(Listening { ended, pipe })
}

fn judge(status: ExitStatus, report: &Report) -> Claims {
    if !status.success() {
        let mut claims = ended("the agent", status, Exit::AgentFailed);
        if let Completion::Incomplete(reason) = &report.completion {
            claims.message = format!("{}; {reason}", claims.message);
        }
        return claims;
    }
    let (exit, message) = match &report.completion {
        Completion::Complete => (Exit::Succeeded, "the agent ended well".to_owned()),
        Completion::Incomplete(reason) => (Exit::AgentIncomplete, reason.clone()),
        Completion::Absent => {
            (Exit::AgentIncomplete, "the agent ended without the report that closes its output".to_owned())
        }
    };
    Claims { exit: Some(exit), exit_code: Some(0), message, ..Claims::default() }
}

fn ended(who: &str, status: ExitStatus, exit: Exit) -> Claims {
    let message = match (status.code(), status.signal()) {
        (Some(code), _) => format!("{who} ended with exit code {code}"),
        (None, Some(signal)) => format!("{who} was ended by signal {signal}"),
        (None, None) => format!("{who} ended in an unknown way"),
    };
    Claims {
        exit: Some(exit),
        exit_code: status.code(),
        signal: status.signal(),
        message,
        ..Claims::default()
    }
}

// What an agent without a model says in its block was said on purpose and wins over what the checkout shows. An agent
// with a model has no block; its checkout and its report are all there is.
fn fill(claims: &mut Claims, report: &Report, captured: Vec<(String, String)>) {
    claims.outputs.clone_from(&report.outputs);
    let said = outputs::results(&report.outputs);
    let usage = &report.usage;
    let counts = [
        ("cost-usd", usage.cost_usd.clone()),
        ("input-tokens", usage.input_tokens.map(|count| count.to_string())),
        ("output-tokens", usage.output_tokens.map(|count| count.to_string())),
    ];
    let counts = counts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    for (key, value) in captured.into_iter().chain(counts) {
        if !said.contains_key(&key) {
            claims.outputs.push(format!("{key}: {value}"));
        }
    }
    claims.results = outputs::results(&claims.outputs);
    let usage = if usage.is_empty() { usage_in_results(&said) } else { usage.clone() };
    claims.usage = Some(usage).filter(|usage| !usage.is_empty());
    if let Some(answer) = &report.answer {
        // Only here: in the lines as well it would be in every object twice.
        let answer = base64::engine::general_purpose::STANDARD.encode(answer);
        claims.results.insert("response".to_owned(), answer);
    }
    if report.is_cut {
        claims.message.push_str("; its results were larger than 64 KiB and are cut");
    }
}

fn print_block(lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let block = format!("{}\n{}\n{}\n", outputs::START, lines.join("\n"), outputs::END);
    // The log is for people; the claims are what counts.
    drop(own_stdout().and_then(|mut stdout| stdout.write_all(block.as_bytes())));
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Returns a copy of standard output, which is the log.
pub(super) fn own_stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Writes a line to the log of the run.
pub(super) fn say(line: &str) {
    // Standard error is the log; nothing can be done when it is gone.
    drop(writeln!(io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::run::Usage;

    #[test]
    fn a_level_below_what_is_needed_is_refused() {
        use NetworkHold as Hold;
        use SandboxLevel as Level;
        for (level, hold, needed, network, is_refused) in [
            (Level::Limited, Hold::Open, Level::Limited, Network::Open, false),
            (Level::Limited, Hold::Open, Level::Files, Network::Open, true),
            (Level::Isolated, Hold::Open, Level::Files, Network::Open, false),
            (Level::Files, Hold::Open, Level::Limited, Network::Closed, true),
            (Level::Isolated, Hold::Closed, Level::Limited, Network::Closed, false),
            (Level::Isolated, Hold::Open, Level::Limited, Network::Closed, true),
            (Level::Files, Hold::Ports, Level::Files, Network::Guarded, false),
            (Level::Enclosed, Hold::Proxied, Level::Enclosed, Network::Guarded, false),
        ] {
            let sandbox = Sandbox { minimum: needed, network, ..Sandbox::default() };
            let refused = shortfall(level, hold, &sandbox);
            assert_eq!(refused.is_some(), is_refused, "{level:?} {hold:?} {needed:?} {network:?}");
        }
    }

    #[test]
    fn a_program_that_is_too_old_is_told_so() {
        let codex = agents::by_kind("codex");
        let message = outdated(codex, Path::new("/bin/codex"), Version(0, 99, 9)).unwrap();
        assert_eq!(message, "/bin/codex is version 0.99.9 of codex; 0.104.0 or later is needed, update it");
        assert_eq!(outdated(codex, Path::new("/bin/codex"), Version(0, 104, 0)), None);
        assert_eq!(outdated(agents::by_kind("cursor"), Path::new("/bin/agent"), Version(0, 0, 1)), None);
    }

    fn report(outputs: &[&str]) -> Report {
        Report {
            completion: Completion::Complete,
            usage: Usage::default(),
            answer: None,
            outputs: outputs.iter().map(|&line| line.to_owned()).collect(),
            is_cut: false,
        }
    }

    #[test]
    fn what_a_script_says_wins_over_what_its_checkout_shows() {
        let mut claims = Claims::default();
        let captured = vec![
            ("branch".to_owned(), "main".to_owned()),
            ("commit".to_owned(), "abc".to_owned()),
            ("pr".to_owned(), "u1".to_owned()),
            ("pr".to_owned(), "u2".to_owned()),
        ];
        fill(&mut claims, &report(&["branch: kelos/7", "just a line", "cost-usd: 0.25"]), captured);
        assert_eq!(
            claims.outputs,
            ["branch: kelos/7", "just a line", "cost-usd: 0.25", "commit: abc", "pr: u1", "pr: u2"]
        );
        assert_eq!(claims.results["branch"], "kelos/7");
        assert_eq!(claims.results["pr"], "u2");
        assert_eq!(claims.usage.unwrap().cost_usd.as_deref(), Some("0.25"));
    }

    #[test]
    fn an_agent_that_ends_well_without_its_report_is_incomplete() {
        let absent = Report { completion: Completion::Absent, ..report(&[]) };
        assert_eq!(judge(ExitStatus::from_raw(0), &absent).exit, Some(Exit::AgentIncomplete));
        assert_eq!(judge(ExitStatus::from_raw(0), &report(&[])).exit, Some(Exit::Succeeded));
        let killed = judge(ExitStatus::from_raw(9), &absent);
        assert_eq!((killed.exit, killed.signal, killed.exit_code), (Some(Exit::AgentFailed), Some(9), None));
    }
}
