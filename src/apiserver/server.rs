//! From a request to a handler: one fallback route, the path parser, and a table of methods.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::apiserver::answer;
use crate::apiserver::body;
use crate::apiserver::call::Call;
use crate::apiserver::core_kinds;
use crate::apiserver::counting;
use crate::apiserver::delete;
use crate::apiserver::discovery;
use crate::apiserver::garbage;
use crate::apiserver::metadata;
use crate::apiserver::openapi::OpenApi;
use crate::apiserver::openapi_v2::OpenApiV2;
use crate::apiserver::options::{DeleteOptions, Query, WriteOptions};
use crate::apiserver::output::Output;
use crate::apiserver::path::{self, ObjectPath, Target};
use crate::apiserver::resource::{Registry, Resource};
use crate::apiserver::reviews;
use crate::apiserver::status::ApiError;
use crate::apiserver::write::{self, Place};
use crate::clock::SharedClock;
use crate::metrics::Requests;
use crate::store::Store;

/// What a server is told beside its store and its resources.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source of all times that are written.
    pub clock: SharedClock,
    /// The version of this program, which stands in `/version` beside that of the API.
    pub version: String,
    /// Counts requests.
    pub requests: Requests,
}

impl Options {
    /// Returns the options of a server whose requests nobody counts.
    pub fn new(clock: SharedClock, version: &str) -> Self {
        Self { clock, version: version.to_owned(), requests: Requests::default() }
    }
}

/// A kind that a server has objects of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedKind {
    /// The group; empty for the core group.
    pub group: String,
    /// The plural name.
    pub plural: String,
    /// The prefix of their keys in the store.
    pub prefix: String,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) clock: SharedClock,
    pub(crate) version: String,
    pub(crate) requests: Requests,
    pub(crate) open_api: OpenApi,
    pub(crate) open_api_v2: OpenApiV2,
    /// Cancelled when the server stops; every watch ends then.
    pub(crate) stopping: CancellationToken,
    /// Whether namespaces and definitions were written; the first request does it.
    prepared: OnceCell<()>,
}

/// A Kubernetes-compatible API over a store; clones share it.
#[derive(Debug, Clone)]
pub struct ApiServer {
    state: Arc<State>,
}

/// Namespaces that are always there.
const NAMESPACES: [&str; 2] = ["default", "kube-system"];

impl ApiServer {
    /// Returns a server of `resources`, and of the kinds of Kubernetes itself that they need.
    pub fn new(store: Store, resources: Vec<Resource>, options: Options) -> Self {
        let mut all = core_kinds::resources();
        all.extend(resources);
        let registry = Registry::new(all);
        let open_api = OpenApi::new(&registry);
        Self {
            state: Arc::new(State {
                store,
                registry,
                clock: options.clock,
                version: options.version,
                requests: options.requests,
                open_api,
                open_api_v2: OpenApiV2::default(),
                stopping: CancellationToken::new(),
                prepared: OnceCell::new(),
            }),
        }
    }

    /// Writes what every client may expect to find: the standing namespaces and the definitions of our kinds.
    ///
    /// The first request does it too; calling it early shows a full disk before anybody asks.
    ///
    /// # Errors
    /// When the store does not take the writes.
    pub async fn prepare(&self) -> Result<(), ApiError> {
        self.state.prepare().await
    }

    /// Returns the routes, for [`kube::Client::new`] or a listener. Requests run in their caller's task: see
    /// [`crate::apiserver::in_process`].
    pub fn router(&self) -> Router {
        let state = Arc::clone(&self.state);
        Router::new().fallback(move |request: Request| {
            let state = Arc::clone(&state);
            async move { state.handle(request).await }
        })
    }

    /// Collects garbage, empties deleted namespaces and lets Events expire, until the server stops.
    ///
    /// Whoever owns the server runs this once, in a task of its own, for as long as it answers requests.
    pub async fn keep_house(&self) {
        garbage::run(&self.state).await;
    }

    /// Returns the kinds that the server has objects of, each once.
    pub fn kinds(&self) -> Vec<ServedKind> {
        let mut kinds: Vec<ServedKind> = Vec::new();
        for resource in self.state.registry.all() {
            let prefix = resource.prefix();
            // Events have two faces and are stored once.
            if kinds.iter().all(|kind| kind.prefix != prefix) {
                kinds.push(ServedKind {
                    group: resource.group.clone(),
                    plural: resource.plural.clone(),
                    prefix,
                });
            }
        }
        kinds
    }

    /// Returns what the server's parts share, for their tests.
    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Ends every watch and refuses none: clients see the ends of their streams and come back elsewhere.
    pub fn stop(&self) {
        self.state.stopping.cancel();
    }
}

/// How many bytes of warnings an answer carries at most; what is beyond is left out.
const WARNINGS_LIMIT: usize = 4_096;

fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    let mut size = 0;
    for warning in warnings {
        size += warning.len();
        if size > WARNINGS_LIMIT {
            return;
        }
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

impl State {
    async fn handle(&self, request: Request) -> Response<Body> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let target = path::parse(parts.uri.path());
        let query = Query::parse(parts.uri.query());
        let labels = counting::labels(&self.registry, &target, &query, &parts);
        let in_flight =
            (labels.verb != "WATCH").then(|| self.requests.begin(counting::is_mutating(labels.verb)));
        let output = Output::parse(&parts.headers, &query);
        let mut response = match self.answer(&parts, body, &target, query).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        };
        let headers = response.headers_mut();
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        }
        // The query may carry nothing secret; bodies are never logged.
        let code = response.status().as_u16();
        tracing::debug!(method = %parts.method, path = parts.uri.path(), query = parts.uri.query(), code, "Request answered");
        let response = output.write(response).await;
        drop(in_flight);
        self.requests.answered(&labels, code, began.elapsed());
        response
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: Body,
        target: &Target,
        query: Query,
    ) -> Result<Response<Body>, ApiError> {
        self.prepare().await?;
        let path = match target {
            Target::Objects(path) => path,
            Target::Unknown => return Ok(answer::not_found()),
            other => return Ok(self.document(other, parts)),
        };
        if let Some(kind) = reviews::kind(path, &parts.method) {
            return reviews::answer(self, kind, parts, body).await;
        }
        let Some(resource) = self.registry.find(&path.group, &path.version, &path.plural) else {
            return self.unknown(path);
        };
        if !resource.namespaced && path.namespace.is_some() {
            return self.unknown(path);
        }
        let mut call = Call { state: self, resource, path, parts, query, warnings: Vec::new() };
        let result = call.run(body).await;
        let warnings = std::mem::take(&mut call.warnings);
        let mut response = result.unwrap_or_else(ApiError::into_response);
        add_warnings(&mut response, &warnings);
        Ok(response)
    }

    /// Answers for a resource that is not served: groups of Kubernetes itself say so in an object.
    fn unknown(&self, path: &ObjectPath) -> Result<Response<Body>, ApiError> {
        let is_core = |resource: &Resource| resource.core.is_some() && resource.group == path.group;
        if path.group.is_empty() || self.registry.all().iter().any(|resource| is_core(resource)) {
            return Err(ApiError::unknown_resource());
        }
        Ok(answer::not_found())
    }

    fn document(&self, target: &Target, parts: &Parts) -> Response<Body> {
        match target {
            Target::Root => discovery::root(&self.registry),
            Target::CoreVersions => discovery::core_versions(&self.registry, &parts.headers),
            Target::Groups => discovery::groups(&self.registry, &parts.headers),
            Target::Group(group) => discovery::group(&self.registry, group),
            Target::GroupVersion { group, version } => discovery::resources(&self.registry, group, version),
            Target::OpenApiV2 => self.open_api_v2.answer(&self.registry, parts),
            Target::OpenApiIndex => self.open_api.index(),
            Target::OpenApiDocument(path) => self.open_api.document(path, parts),
            Target::Version => discovery::version(&self.version),
            Target::Health { endpoint, check } => {
                let is_verbose = Query::parse(parts.uri.query()).get("verbose").is_some();
                discovery::health(&self.store, endpoint, check.as_deref(), is_verbose)
            }
            Target::Objects(_) | Target::Unknown => answer::not_found(),
        }
    }

    async fn prepare(&self) -> Result<(), ApiError> {
        self.prepared.get_or_try_init(|| self.write_standing_objects()).await.copied()
    }

    async fn write_standing_objects(&self) -> Result<(), ApiError> {
        let namespaces = self.registry.find("", "v1", "namespaces").expect("because it is always served");
        for name in NAMESPACES {
            let object = json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            });
            self.ensure(namespaces, name, object).await?;
        }
        let definitions = self
            .registry
            .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
            .expect("because it is always served");
        self.forget_definitions(definitions).await?;
        for resource in self.registry.all() {
            let Some(definition) = &resource.definition else { continue };
            let name = format!("{}.{}", resource.plural, resource.group);
            let key = definitions.key("", &name);
            let found = self.store.get(&key).and_then(|entry| write::load(definitions, &entry.value).ok());
            let since = found
                .as_ref()
                .and_then(|object| object["metadata"]["creationTimestamp"].as_str())
                .map_or_else(|| metadata::time(self.clock.now()), str::to_owned);
            let mut object = core_kinds::established(definition, &since);
            object["apiVersion"] = json!("apiextensions.k8s.io/v1");
            object["kind"] = json!("CustomResourceDefinition");
            object["metadata"]["name"] = json!(name);
            if let Some(found) = found {
                self.refresh(definitions, &name, &found, object).await?;
            } else {
                self.ensure(definitions, &name, object).await?;
            }
        }
        Ok(())
    }

    /// Removes the definitions of kinds that an earlier version of this program served.
    async fn forget_definitions(&self, definitions: &Resource) -> Result<(), ApiError> {
        for entry in self.store.list(&definitions.prefix(), None, None).entries {
            let (_, name) = definitions.parse_key(&entry.key);
            let is_served = self.registry.all().iter().any(|resource| {
                resource.definition.is_some() && name == format!("{}.{}", resource.plural, resource.group)
            });
            if !is_served {
                delete::delete(self, definitions, "", name, &DeleteOptions::default()).await?;
            }
        }
        Ok(())
    }

    fn server_place<'a>(resource: &'a Resource, name: &'a str) -> Place<'a> {
        Place {
            resource,
            namespace: "",
            name,
            subresource: "",
            manager: "kube-apiserver",
            uid_is_precondition: false,
        }
    }

    async fn ensure(&self, resource: &Resource, name: &str, mut object: Value) -> Result<(), ApiError> {
        if self.store.get(&resource.key("", name)).is_some() {
            return Ok(());
        }
        let options = WriteOptions::server();
        body::normalize(resource, &mut object).map_err(|error| ApiError::internal(&error))?;
        match write::create(self, &Self::server_place(resource, name), object, &options).await {
            Ok(_) => Ok(()),
            // Another handle on the same store was faster.
            Err(error) if error.reason == "AlreadyExists" => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn refresh(
        &self,
        resource: &Resource,
        name: &str,
        found: &Value,
        mut object: Value,
    ) -> Result<(), ApiError> {
        body::normalize(resource, &mut object).map_err(|error| ApiError::internal(&error))?;
        if object["spec"] == found["spec"] {
            return Ok(());
        }
        let place = Self::server_place(resource, name);
        write::update(self, &place, false, false, |old, _| {
            let mut new = old.cloned().unwrap_or_default();
            new["spec"] = object["spec"].clone();
            new["status"] = object["status"].clone();
            Ok(new)
        })
        .await
        .map(|_| ())
    }
}
