//! Transcripts: a list of shell commands, with what each printed and how it ended.
//!
//! A list is a text file of one command a line; lines that begin with `#` are headings. Its transcript is a file beside
//! it that holds the same lines, each command after `$ ` and followed by its exit status, standard output and standard
//! error. What differs between two runs is replaced as everywhere in these tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::support::clients::Kubectl;
use crate::support::env::TestEnv;

/// The folder of the lists and of the files that their commands name.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/kubectl");

/// Where the commands of a list go.
pub(crate) struct Shell<'a> {
    /// The user who types.
    pub(crate) env: &'a TestEnv,
    /// The kubectl that is found.
    pub(crate) kubectl: &'a Kubectl,
    /// The server that is spoken to. The commands work on a copy, since some of them change it.
    pub(crate) kubeconfig: PathBuf,
}

impl Shell<'_> {
    /// Runs the commands of the list `name` and returns the transcript.
    pub(crate) fn run(&self, name: &str) -> String {
        copy(&Path::new(FOLDER).join("files"), &self.env.path("files"));
        std::fs::copy(Path::new(FOLDER).join("prelude.sh"), self.env.path("prelude.sh")).unwrap();
        std::fs::copy(&self.kubeconfig, self.env.path("kubeconfig")).unwrap();
        let list = std::fs::read_to_string(Path::new(FOLDER).join(format!("{name}.commands"))).unwrap();
        let mut transcript = String::new();
        for line in list.lines() {
            if line.is_empty() || line.starts_with('#') {
                writeln!(transcript, "{line}").unwrap();
                continue;
            }
            let mut command = self.env.program(Path::new("/bin/sh"), Some(&self.kubectl.folder));
            command.env("KUBECONFIG", self.env.path("kubeconfig"));
            let ran = self.env.ran(command.args(["-c", &format!(". ./prelude.sh; {line}")]));
            write!(transcript, "$ {line}\n{}", stable(&ran.to_string())).unwrap();
        }
        transcript
    }
}

/// Fails unless the transcript of the list `name` is the checked-in one, and shows each command that differs.
pub(crate) fn check(name: &str, kubectl: &Kubectl, transcript: &str) {
    let path = path(name, kubectl);
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let (wanted, found) = (blocks(&recorded), blocks(transcript));
    let mut report = String::new();
    for (wanted, found) in wanted.iter().zip(&found) {
        if wanted != found {
            writeln!(report, "{}", difference(wanted, found)).unwrap();
        }
    }
    if wanted.len() != found.len() {
        writeln!(report, "{} commands are recorded, and {} were run", wanted.len(), found.len()).unwrap();
    }
    assert!(
        report.is_empty(),
        "kubectl {}: what is printed differs from {} (-)\n{report}",
        kubectl.release,
        path.display()
    );
}

/// Writes the transcript of the list `name` as the one to compare with.
pub(crate) fn record(name: &str, kubectl: &Kubectl, transcript: &str) {
    std::fs::write(path(name, kubectl), transcript).unwrap();
}

fn path(name: &str, kubectl: &Kubectl) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.{}.txt", kubectl.release))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Returns each command with what follows it.
fn blocks(transcript: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in transcript.lines() {
        match blocks.last_mut() {
            Some(block) if !line.starts_with("$ ") => {
                block.push('\n');
                block.push_str(line);
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks
}

/// Returns the command of two blocks and the lines that only one of them has.
fn difference(wanted: &str, found: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (in_wanted, in_found) = (lines(wanted), lines(found));
    let mut shown = found.lines().next().unwrap_or_default().to_owned();
    let mut is_shown = false;
    for (sign, text, other) in [('-', wanted, &in_found), ('+', found, &in_wanted)] {
        for line in text.lines().filter(|line| !other.contains(*line)) {
            is_shown = true;
            write!(shown, "\n{sign} {line}").unwrap();
        }
    }
    if !is_shown {
        write!(shown, "\nthe same lines in another order or number:\n- {wanted}\n+ {found}").unwrap();
    }
    shown
}

static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // Whether a watch that is given up within a second is worth a word depends on the moment.
        (r"(?m)^[EWI]\d{4} [^\n]*very short watch[^\n]*\n", ""),
        // So does whether one is given up between two of its lines.
        (r"(?m)^[EWI]\d{4} [^\n]*watch ended with error[^\n]*context canceled[^\n]*\n", ""),
        (r"(?m)^--- stderr\n\z", ""),
        (r"(?m)^[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "[LOG] "),
        // How long ago an Event of a fixed date was.
        (r"\b\d+d \(x(\d+) over \d+d\)", "[SPAN] (x${1} over [SPAN])"),
        // Kinds of output in which a resource version stands alone.
        (r#"("resourceVersion":)"\d+""#, "${1}\"[VERSION]\""),
        (r"(Resource Version: +)\d+", "${1}[VERSION]"),
    ]
    .into_iter()
    .map(|(pattern, word)| (Regex::new(pattern).expect("it is a pattern"), word))
    .collect()
});

fn stable(text: &str) -> String {
    RULES.iter().fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
}

#[test]
fn a_difference_names_the_command_and_its_lines() {
    let wanted = blocks("# a\n$ b\nexit: 0\nc\n$ d\nexit: 0\n");
    assert_eq!(wanted, ["# a", "$ b\nexit: 0\nc", "$ d\nexit: 0"]);
    assert_eq!(difference("$ b\nexit: 0\nc", "$ b\nexit: 1\nc"), "$ b\n- exit: 0\n+ exit: 1");
    assert!(difference("$ b\nc\nd", "$ b\nd\nc").contains("another order"));
}
