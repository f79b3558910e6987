//! The one place where an error becomes what a person reads and an exit status.

use std::fmt::Write as _;
use std::process::ExitCode;

/// What an error means for the caller of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The user can mend it: exit status 1.
    User,
    /// The command line is wrong, or the question could not be answered: exit status 2.
    Usage,
    /// Whoever read our output went away: exit status 3.
    BrokenPipe,
    /// A fault of ours: exit status 255.
    Internal,
}

impl ErrorKind {
    fn exit_status(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Usage => 2,
            Self::BrokenPipe => 3,
            Self::Internal => 255,
        }
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: ErrorKind,
    error: anyhow::Error,
    hints: Vec<String>,
}

impl CommandError {
    /// Returns an error that the user can mend.
    pub(crate) fn user(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: ErrorKind::User, error: error.into(), hints: Vec::new() }
    }

    /// Returns an error that the user can mend, from its text.
    pub(crate) fn user_message(message: impl Into<String>) -> Self {
        Self::user(anyhow::Error::msg(message.into()))
    }

    /// Returns an error about the command line, or about a question that could not be answered.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, error: anyhow::Error::msg(message.into()), hints: Vec::new() }
    }

    /// Returns an error that is a fault of ours.
    pub(crate) fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: ErrorKind::Internal, error: error.into(), hints: Vec::new() }
    }

    /// Makes an error of any kind one that could not answer the question: exit status 2.
    pub(crate) fn could_not_judge(mut self) -> Self {
        self.kind = ErrorKind::Usage;
        self
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the text for standard error: the error, its causes, its hints.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("Error: {}\n", self.error);
        for cause in self.error.chain().skip(1) {
            let _ = writeln!(text, "Caused by: {cause}");
        }
        for hint in &self.hints {
            let _ = writeln!(text, "Hint: {hint}");
        }
        if self.kind == ErrorKind::Internal {
            text.push_str("This is a fault in kelos; please report it with the command that you ran.\n");
        }
        text
    }

    /// Returns the exit status.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_status())
    }

    /// Returns whether there is nobody left to tell.
    pub(crate) fn is_silent(&self) -> bool {
        self.kind == ErrorKind::BrokenPipe
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        let kind = if error.kind() == std::io::ErrorKind::BrokenPipe {
            ErrorKind::BrokenPipe
        } else {
            ErrorKind::User
        };
        Self { kind, error: error.into(), hints: Vec::new() }
    }
}

impl From<kube::Error> for CommandError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => {
                let plural = status.details.as_ref().map(|details| details.kind.clone()).unwrap_or_default();
                let error = Self::user_message(status.message.clone());
                if plural.is_empty() {
                    error.hint("Does this server know the kinds of kelos? On a cluster, their definitions have to be applied first")
                } else {
                    error.hint(format!("'kelos get {plural}' shows what is there; -n chooses the namespace"))
                }
            }
            kube::Error::Api(status) => Self::user_message(format!("the server refused: {}", status.message)),
            kube::Error::Service(source) => Self::user_message(format!("cannot reach the server: {source}"))
                .hint("Is 'kelos up' running, or does --kubeconfig name a cluster that is?"),
            other => Self::user(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_causes_and_hints() {
        let error =
            CommandError::user(anyhow::anyhow!("no route").context("cannot fetch 'main'")).hint("Try again");
        assert_eq!(error.render(), "Error: cannot fetch 'main'\nCaused by: no route\nHint: Try again\n");
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let error = CommandError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(error.is_silent());
    }
}
