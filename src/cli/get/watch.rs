//! Objects as they change, as `kubectl get -w` shows them.

use std::process::ExitCode;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::get::table::Rows;
use crate::cli::output::{self, Format};
use crate::cli::printer::Printer;
use crate::clock;

/// What is watched, and how it is shown.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    /// The kind of the objects.
    pub(super) kind: Kind,
    /// The one object that is meant.
    pub(super) name: Option<&'a str>,
    /// How objects are printed; as rows of a table when unset.
    pub(super) format: Option<Format>,
    /// Whether rows say the namespace.
    pub(super) with_namespace: bool,
}

impl Watch<'_> {
    /// Prints the objects that `shown` takes, and each of them again whenever it changes. It has no end of its own.
    pub(super) async fn follow(
        &self,
        api: Api<DynamicObject>,
        shown: impl Fn(&DynamicObject) -> bool,
        printer: Printer,
    ) -> Result<ExitCode, CommandError> {
        let config = match self.name {
            // What does not exist is said, and not waited for.
            Some(name) => {
                api.get(name).await?;
                watcher::Config::default().fields(&format!("metadata.name={name}"))
            }
            None => watcher::Config::default(),
        };
        let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
        let mut rows = Rows::new(self.kind, self.with_namespace);
        let mut documents = 0;
        let mut first = Vec::new();
        // After the connection was lost the whole list comes again; what was shown is not shown twice.
        let mut versions = std::collections::HashMap::new();
        let mut trouble = false;
        while let Some(event) = events.next().await {
            let batch = match event {
                Ok(Event::Init) => {
                    first.clear();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    first.push(object);
                    continue;
                }
                Ok(Event::InitDone) => std::mem::take(&mut first),
                Ok(Event::Apply(object)) => vec![object],
                Ok(Event::Delete(object)) => {
                    versions.remove(&object.uid());
                    vec![object]
                }
                Err(error) if versions.is_empty() && !trouble && !is_passing(&error) => {
                    return Err(failure(error));
                }
                Err(error) => {
                    if !trouble {
                        printer
                            .message(format_args!("the server does not answer and is asked again: {error}"));
                    }
                    trouble = true;
                    continue;
                }
            };
            trouble = false;
            let mut fresh = batch;
            fresh.retain(|object| {
                let version = object.resource_version();
                shown(object) && versions.insert(object.uid(), version.clone()) != Some(version)
            });
            fresh.sort_by_key(|object| (object.namespace(), object.name_any()));
            match self.format {
                None if fresh.is_empty() => {}
                None => printer.data(rows.lines(&fresh, clock::system().now()))?,
                Some(format) => {
                    for object in &fresh {
                        if documents > 0 && format == Format::Yaml {
                            printer.line("---")?;
                        }
                        output::print_one(self.kind, object, format, printer)?;
                        documents += 1;
                    }
                }
            }
        }
        Err(CommandError::user_message(format!("the watch of {} ended", self.kind.plural())))
    }
}

/// Returns whether asking again may help.
fn is_passing(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_))
}

fn failure(error: watcher::Error) -> CommandError {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => error.into(),
        other => CommandError::user(other),
    }
}
