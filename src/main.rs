//! The `kelos` program; everything it does lives in the library.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use kelos::runner;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [first, step, folder] = arguments.as_slice() else {
        anyhow::bail!("usage: kelos runner STEP FOLDER")
    };
    anyhow::ensure!(first == "runner", "usage: kelos runner STEP FOLDER");
    let folder = Path::new(folder);
    match step.to_str() {
        Some("run") => runner::run(folder).map(|_| ExitCode::SUCCESS).map_err(Into::into),
        Some("prepare") => Ok(runner::prepare(folder)?.into()),
        Some("exec") => Ok(runner::exec(folder)?.into()),
        _ => anyhow::bail!("usage: kelos runner run|prepare|exec FOLDER"),
    }
}
