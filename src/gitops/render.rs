//! Renders the templates of a config repository in a child of our own program.
//!
//! A template is a program written by whoever may push. The child has no environment, little memory and little
//! time, and answers in JSON over its standard output; the daemon never renders in its own process.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lang::tera;
use crate::process;

/// How long one child may take for all templates of a repository.
const LONGEST: Duration = Duration::from_secs(10);
/// Processor time of the child, in seconds.
const PROCESSOR_SECONDS: u64 = 5;
/// Address space of the child, in bytes.
const MEMORY: u64 = 512 * 1024 * 1024;
/// What the child may answer, in bytes, for all templates together.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What the child is asked: all template sources, those to render, and the values they see.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    sources: BTreeMap<String, String>,
    names: Vec<String>,
    values: Value,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateFault {
    /// The template in which it was found; includes may lead to another than the one rendered.
    pub file: String,
    /// Line in that template, from 1.
    pub line: usize,
    /// Column in that template, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// One rendered text, or what is wrong with its template.
pub type Rendered = Result<String, TemplateFault>;

/// Why there is no answer about any template.
#[derive(Debug, thiserror::Error)]
pub enum RendererError {
    /// The templates need more than they are given: whoever wrote them has to act.
    #[error("{0}")]
    Exceeded(String),
    /// The child process failed in what no template can be blamed for.
    #[error("the rendering process failed")]
    Process(#[source] process::ExchangeError),
    /// What the child process is asked cannot be written, or what it answers cannot be read.
    #[error("the rendering process and this one do not understand each other")]
    Form(#[source] serde_json::Error),
}

/// Turns templates into texts.
pub trait Renderer: Send + Sync {
    /// Renders the templates `names` out of `sources` with `values`.
    ///
    /// # Errors
    /// Says why there is no answer at all, such as a template that never ends.
    fn render(
        &self,
        sources: BTreeMap<String, String>,
        names: Vec<String>,
        values: Value,
    ) -> Result<BTreeMap<String, Rendered>, RendererError>;
}

/// Renders in a child process of the program at this path, started with the argument `render-templates`.
#[derive(Debug, Clone)]
pub struct ChildRenderer {
    /// Path of our own executable.
    pub program: std::path::PathBuf,
}

impl Renderer for ChildRenderer {
    fn render(
        &self,
        sources: BTreeMap<String, String>,
        names: Vec<String>,
        values: Value,
    ) -> Result<BTreeMap<String, Rendered>, RendererError> {
        let question = Question { sources, names, values };
        let input = serde_json::to_vec(&question).map_err(RendererError::Form)?;
        let mut command = process::command(Path::new(&self.program));
        command.arg("render-templates");
        match process::exchange(command, input, LONGEST, LARGEST_ANSWER) {
            Ok(answer) => serde_json::from_slice(&answer).map_err(RendererError::Form),
            Err(process::ExchangeError::Failed(_)) => Err(RendererError::Exceeded(format!(
                "rendering needed more than {PROCESSOR_SECONDS} s of processor time or {} MiB of memory; \
                 a loop in a template may not end",
                MEMORY / (1024 * 1024)
            ))),
            Err(process::ExchangeError::TooMuch(_)) => Err(RendererError::Exceeded(format!(
                "the templates render to more than {} MiB",
                LARGEST_ANSWER / (1024 * 1024)
            ))),
            // A template takes processor time and never waits: one that is slow by the wall had no processor.
            Err(
                error @ (process::ExchangeError::TooSlow(_)
                | process::ExchangeError::Start(_)
                | process::ExchangeError::Pipe(_)),
            ) => Err(RendererError::Process(error)),
        }
    }
}

/// The child's side: limits itself, reads the question, returns the answer to be written to standard output.
///
/// # Errors
/// When the limits cannot be set or the question cannot be read; the parent then sees a failed child.
pub fn answer(question: &[u8]) -> Result<Vec<u8>, String> {
    process::limit_self(PROCESSOR_SECONDS, MEMORY).map_err(|error| error.to_string())?;
    let question: Question = serde_json::from_slice(question).map_err(|error| error.to_string())?;
    serde_json::to_vec(&render_all(&question)).map_err(|error| error.to_string())
}

fn render_all(question: &Question) -> BTreeMap<String, Rendered> {
    let templates = tera::Templates::parse(&question.sources);
    let render = |name: &String| {
        templates.render(name, &question.values).map_err(|error| TemplateFault {
            file: error.file,
            line: error.line,
            column: error.column,
            message: error.message,
        })
    };
    question.names.iter().map(|name| (name.clone(), render(name))).collect()
}
