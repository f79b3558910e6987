//! How long `kelos validate` takes, beside kubeconform when it can be had: `cargo bench --bench validate -- 10000`.

mod shared;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kelos::process;

use shared::daemon::Usage;
use shared::repository::definition;
use shared::{head, mebibytes, numbers, row, say, seconds, variable};

/// The other program, from the Go module proxy.
const KUBECONFORM: &str = "github.com/yannh/kubeconform/cmd/kubeconform@v0.6.7";

fn main() {
    for count in numbers(&[1_000, 10_000]) {
        measure(count);
    }
}

fn measure(count: usize) {
    head(&format!("{count} documents, offline"));
    let folder = tempfile::Builder::new().prefix("kelos-bench").tempdir().expect("a temporary folder");
    let definitions = folder.path().join("config");
    fs::create_dir(&definitions).expect("a writable folder");
    for number in 0..count {
        let path = definitions.join(format!("{number:05}.yaml"));
        fs::write(path, definition(number, "one")).expect("a writable folder");
    }
    let large = count >= 10_000;
    let mut command = process::command(env!("CARGO_BIN_EXE_kelos"));
    command.arg("validate").arg(&definitions);
    report("kelos validate", run(&mut command), if large { "0.3 s, 30 MiB" } else { "" });
    let mut broken = process::command(env!("CARGO_BIN_EXE_kelos"));
    for number in 0..count / 100 {
        let path = definitions.join(format!("{number:05}.yaml"));
        fs::write(path, definition(number, "one").replace("shell", "shel")).expect("a writable folder");
    }
    broken.arg("validate").arg(&definitions);
    report("kelos validate, a finding in 1 of 100", run(&mut broken), "");
    match kubeconform() {
        Err(why) => say(&format!("kubeconform is skipped: {why}")),
        Ok(program) => {
            let mut command = process::command(program);
            let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/{{ .ResourceKind }}.json");
            command.arg("-schema-location").arg(schemas).args(["-n", "2"]).arg(&definitions);
            report("kubeconform, schemas alone", run(&mut command), "");
        }
    }
}

fn report(what: &str, (time, usage): (Duration, Usage), budget: &str) {
    let measured =
        format!("{} ({} of processor time), {}", seconds(time), seconds(usage.cpu), mebibytes(usage.peak));
    row(what, &measured, budget);
}

/// Runs a program to its end and returns how long that took and what it used.
fn run(command: &mut Command) -> (Duration, Usage) {
    let begun = Instant::now();
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program is there");
    let mut last = Usage::default();
    // A process that ended and was not waited for still tells its processor time, and no longer its memory.
    let mut time = Duration::ZERO;
    let mut ended = false;
    while !ended {
        std::thread::sleep(Duration::from_millis(1));
        ended = fs::read_to_string(format!("/proc/{}/stat", child.id()))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z')));
        time = begun.elapsed();
        if let Some(usage) = Usage::of(child.id()) {
            last = Usage { peak: usage.peak.max(last.peak), ..usage };
        }
    }
    child.wait().expect("a child of ours");
    (time, last)
}

/// Returns the path of kubeconform, built into a cache when it is not there.
fn kubeconform() -> Result<PathBuf, String> {
    let home = variable("HOME").ok_or("there is no home folder for a cache")?;
    let cache = Path::new(&home).join(".cache/kelos-bench");
    let program = cache.join("kubeconform");
    if program.is_file() {
        return Ok(program);
    }
    let path = variable("PATH").unwrap_or_default();
    let go = process::find("go", path.as_ref()).ok_or("Go is not on the PATH")?;
    say("building kubeconform (once)");
    let mut command = process::command(go);
    command.args(["install", KUBECONFORM]).env("PATH", path).env("HOME", home).env("GOBIN", &cache);
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(program);
    }
    Err(format!("it cannot be built: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
