//! Where definitions come from: the files of a folder, or the same folder in a commit of its repository.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::git::folder::Folder;
use crate::git::program::{Git, Limits};
use crate::git::repository::Repository;
use crate::git::tree::{Files, TreeLimits};
use crate::gitops::cache::EvaluationCache;
use crate::gitops::evaluate::{self, Evaluation};
use crate::gitops::render::ChildRenderer;
use crate::validate::{self, AllowedSecrets};

/// How long git may take to find a commit.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder, and what is needed to read it.
#[derive(Debug)]
pub(super) struct Sources {
    folder: PathBuf,
    search_path: OsString,
    home: Option<PathBuf>,
    renderer: ChildRenderer,
    namespace: Option<String>,
}

/// What a server adds to definitions.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Values for templates.
    pub(super) values: Option<Map<String, Value>>,
    /// The namespace that is applied to.
    pub(super) namespace: Option<String>,
    /// Secrets that may be named; all when unset.
    pub(super) allowed_secrets: Option<BTreeSet<String>>,
    /// Objects that may be referred to without being defined.
    pub(super) live: BTreeSet<(Kind, String)>,
}

impl Sources {
    pub(super) fn new(
        folder: &Path,
        environment: &Environment,
        namespace: Option<String>,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            folder: folder.to_owned(),
            search_path: OsString::from(&environment.search_path),
            home: environment.home.clone(),
            renderer: ChildRenderer { program: std::env::current_exe()? },
            namespace,
        })
    }

    /// Returns the definitions in a folder below; `path` is written as in a ConfigRepository.
    pub(super) fn below(self, path: &str) -> Result<Self, CommandError> {
        let parts = Path::new(path).components();
        if !parts.clone().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(CommandError::usage(format!("--path {path} leads out of the folder")));
        }
        Ok(Self { folder: self.folder.join(parts.as_path()), ..self })
    }

    /// Returns whether the folder is the one that a ConfigRepository calls `path`.
    pub(super) fn ends_with(&self, path: &str) -> bool {
        self.folder.canonicalize().is_ok_and(|folder| folder.ends_with(path.trim_matches('/')))
    }

    /// Reads and judges the definitions of a revision; without one, those in the folder as it is.
    pub(super) fn evaluate(&self, revision: Option<&str>, known: &Known) -> Result<Evaluation, CommandError> {
        match revision {
            None => {
                let files = Folder::open(&self.folder, &TreeLimits::default()).map_err(|error| {
                    let context = format!("cannot read {}", self.folder.display());
                    CommandError::user(anyhow::Error::new(error).context(context))
                })?;
                self.judge(&files, known)
            }
            Some(revision) => match self.revision(revision)? {
                Some(files) => self.judge(&*files, known),
                // The folder is new: before it there was nothing.
                None => Ok(Evaluation::default()),
            },
        }
    }

    fn revision(&self, revision: &str) -> Result<Option<Box<dyn Files>>, CommandError> {
        let failed = |error: crate::git::error::GitError| {
            let context = format!("cannot read revision '{revision}' of {}", self.folder.display());
            CommandError::user(anyhow::Error::new(error).context(context))
        };
        let home = self.home.iter().map(|home| (OsString::from("HOME"), home.clone().into_os_string()));
        let git = Git::locate(OsStr::new(&self.search_path)).map_err(failed)?.with_environment(home);
        let limits = Limits { time: PATIENCE, interrupt: &AtomicBool::new(false) };
        let place = git.working_copy(&self.folder, revision, limits).map_err(|error| {
            failed(error)
                .hint("A revision is a branch, tag or commit of the working copy that the folder is in")
        })?;
        let repository = Repository::open_or_create(&place.git_dir).map_err(failed)?;
        let files =
            repository.revision(place.commit, &place.prefix, &TreeLimits::default()).map_err(failed)?;
        Ok(files.map(|files| Box::new(files) as Box<dyn Files>))
    }

    fn judge(&self, files: &dyn Files, known: &Known) -> Result<Evaluation, CommandError> {
        let context = validate::Context {
            namespace: known.namespace.clone().or_else(|| self.namespace.clone()),
            allowed_secrets: known.allowed_secrets.clone().map_or(AllowedSecrets::All, AllowedSecrets::Named),
            live: known.live.clone(),
        };
        evaluate::evaluate(
            files,
            &self.renderer,
            &mut EvaluationCache::new(),
            known.values.as_ref(),
            &context,
        )
        .map_err(CommandError::user)
    }
}
