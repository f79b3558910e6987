//! `kelos demo`

mod count;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::cli::demo::script::{ACTS, Line, NEXT};
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::temporary_folder;
use crate::process;

/// How long one command may take. The longest waits for the next full minute.
const LONGEST: Duration = Duration::from_mins(2);

/// Show the whole loop, from a pushed commit to a report in git
///
/// Works in a folder of its own with a daemon of its own: no cluster, no network, no credentials. Each command is printed
/// before it runs, and can be typed by hand.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Folder to work in; it must not exist. By default a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the commands as a shell script and run nothing
    #[arg(long)]
    script: bool,
}

/// Runs the demo. It takes no runtime: all work is done by the commands.
pub(super) fn run(
    arguments: &DemoArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    if arguments.script {
        printer.data(as_script())?;
        return Ok(ExitCode::SUCCESS);
    }
    if process::find("git", environment.search_path.as_ref()).is_none() {
        return Err(CommandError::user_message("git is not on the PATH").hint("Install git 2.32 or later"));
    }
    let stage = Stage::build(arguments.dir.as_deref(), environment)?;
    printer.line(format_args!("The demo works in {}\n", stage.folder.display()))?;
    let started = Instant::now();
    for (number, act) in ACTS.iter().enumerate() {
        printer.line(format_args!("{}. {}", number + 1, act.title))?;
        for line in act.commands {
            printer.line(format_args!("[{:5.1} s] $ {}", started.elapsed().as_secs_f64(), line.text))?;
            stage.perform(line)?;
        }
        printer.line("")?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let count = count::count(&stage.folder, &stage.search_path)?;
    printer.line(format_args!("{count}; {seconds:.0} s in all\n"))?;
    printer.line(NEXT)?;
    Ok(ExitCode::SUCCESS)
}

/// The folder of the demo, and the environment of its commands. When it goes, so do its daemon and, if it is
/// temporary, its files.
struct Stage {
    folder: PathBuf,
    is_temporary: bool,
    search_path: String,
}

impl Stage {
    fn build(wanted: Option<&Path>, environment: &Environment) -> Result<Self, CommandError> {
        let (folder, is_temporary) = match wanted {
            Some(folder) => {
                fs::create_dir(folder).map_err(|error| {
                    CommandError::user(
                        anyhow::Error::new(error).context(format!("cannot make {}", folder.display())),
                    )
                    .hint("The demo wants a folder of its own that does not exist yet")
                })?;
                (folder.canonicalize()?, false)
            }
            None => (temporary_folder(&format!("kelos-demo-{}", std::process::id()))?.canonicalize()?, true),
        };
        let programs = folder.join("bin");
        fs::create_dir(&programs)?;
        fs::create_dir(folder.join("home"))?;
        std::os::unix::fs::symlink(std::env::current_exe()?, programs.join("kelos"))?;
        let search_path = format!("{}:{}", programs.display(), environment.search_path);
        Ok(Self { folder, is_temporary, search_path })
    }

    /// Runs one command of the script in the stage's own environment.
    fn perform(&self, line: &Line) -> Result<(), CommandError> {
        let mut command = process::command("/bin/sh");
        command
            .args(["-c", line.text])
            .current_dir(&self.folder)
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .env("PATH", &self.search_path)
            .envs(variables(&self.folder));
        let mut child = command.spawn()?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > LONGEST {
                child.kill()?;
                child.wait()?;
                return Err(self.failed(line, "did not come to an end"));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        match status.code() {
            Some(code) if code == line.status => Ok(()),
            Some(code) => Err(self.failed(line, &format!("ended with status {code}, not {}", line.status))),
            None => Err(self.failed(line, "was ended by a signal")),
        }
    }

    fn failed(&self, line: &Line, how: &str) -> CommandError {
        let log = fs::read_to_string(self.folder.join("up.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        CommandError::user_message(format!(
            "the command '{}' {how}\nThe daemon's last words:\n{}",
            line.text,
            tail.join("\n")
        ))
        .hint("Run 'kelos demo --dir DIR' to keep the files, and look into DIR/up.log")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid =
            fs::read_to_string(self.folder.join("up.pid")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(daemon) = pid.and_then(process::tree::look_at) {
            process::tree::ask_to_end(daemon);
            for _ in 0..100 {
                if process::tree::look_at(daemon.pid).is_none_or(|now| !now.is_alive()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if self.is_temporary {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// Returns the variables of the commands beside `PATH`: a home and a git configuration of their own.
fn variables(folder: &Path) -> [(&'static str, String); 8] {
    let inside = |name: &str| folder.join(name).display().to_string();
    [
        ("HOME", inside("home")),
        ("XDG_RUNTIME_DIR", inside("home")),
        ("KUBECONFIG", inside("data/kubeconfig")),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_AUTHOR_NAME", "Demo".to_owned()),
        ("GIT_AUTHOR_EMAIL", "demo@example.com".to_owned()),
        ("GIT_COMMITTER_NAME", "Demo".to_owned()),
        ("GIT_COMMITTER_EMAIL", "demo@example.com".to_owned()),
    ]
}

/// Returns the demo as a shell script: what `kelos demo` prints and runs, for an empty folder with `kelos` on the PATH.
fn as_script() -> String {
    let mut text = String::from("set -u\nmkdir -p home\ntrap 'kill $(cat up.pid) 2>/dev/null' EXIT\n");
    for (name, value) in variables(Path::new("$PWD")) {
        text.push_str(&format!("export {name}=\"{value}\"\n"));
    }
    text.push_str("expect() { test $? -eq \"$1\" || { echo \"unexpected exit status\" >&2; exit 1; }; }\n");
    for act in ACTS {
        text.push_str(&format!("\n# {}\n", act.title));
        for line in act.commands {
            text.push_str(&format!("{}\nexpect {}\n", line.text, line.status));
        }
    }
    text.push_str("exit 0\n");
    text
}
