//! What is kept between two evaluations, so that the work of one is in proportion to what changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::digest;
use crate::domain::plan::TextPackers;
use crate::git::id::BlobId;
use crate::gitops::judge::JudgedFile;
use crate::gitops::render::Rendered;
use crate::validate::{AllowedSecrets, Context};

/// Judged files by their contents, and the last rendering. All of it can be lost.
#[derive(Debug, Default)]
pub struct EvaluationCache {
    /// What was known beside the files when they were judged.
    known: Option<(Option<String>, AllowedSecrets)>,
    files: HashMap<ContentId, Arc<JudgedFile>>,
    rendering: Option<Rendering>,
    /// Packs the manifests of the files.
    pub(super) packers: TextPackers,
}

/// Names the contents of a file: two equal ids mean two equal texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ContentId {
    /// A file of a commit.
    Blob(BlobId),
    /// A rendered text, by its digest.
    Rendered(String),
}

impl ContentId {
    pub(super) fn of_rendered(text: &str) -> Self {
        Self::Rendered(digest::sha256_hex(text))
    }
}

/// What the templates of a repository came to.
#[derive(Debug, Clone)]
pub(super) struct Rendering {
    /// Digest of all that the templates could see.
    pub(super) seen: String,
    /// The texts by path, and what is wrong with others.
    pub(super) texts: Arc<BTreeMap<String, Rendered>>,
}

impl EvaluationCache {
    /// Returns a cache of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was judged with other knowledge.
    pub(super) fn prepare(&mut self, context: &Context) {
        let known = (context.namespace.clone(), context.allowed_secrets.clone());
        if self.known.as_ref() != Some(&known) {
            self.files.clear();
            self.known = Some(known);
        }
    }

    /// Returns the judged file with these contents, if all that it pulled in is `still_the_same`.
    pub(super) fn get(
        &self,
        id: &ContentId,
        path: &Arc<str>,
        still_the_same: impl Fn(&str, BlobId) -> bool,
    ) -> Option<Arc<JudgedFile>> {
        let file = self.files.get(id)?;
        if !file.pulled_in.iter().all(|(path, blob)| still_the_same(path, *blob)) {
            return None;
        }
        Some(if file.path == *path { Arc::clone(file) } else { Arc::new(file.at(path)) })
    }

    /// Keeps these files and no others.
    pub(super) fn keep(&mut self, files: HashMap<ContentId, Arc<JudgedFile>>) {
        self.files = files;
    }

    /// Returns the last rendering, if the templates saw the same.
    pub(super) fn rendering(&self, seen: &str) -> Option<Rendering> {
        self.rendering.clone().filter(|rendering| rendering.seen == seen)
    }

    /// Keeps this rendering and no other.
    pub(super) fn keep_rendering(&mut self, rendering: Option<Rendering>) {
        self.rendering = rendering;
    }
}
