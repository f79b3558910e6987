//! From a request to a handler: one fallback route, the path parser, and a table of methods.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::apiserver::answer;
use crate::apiserver::body;
use crate::apiserver::core_kinds;
use crate::apiserver::delete::{self, Deleted};
use crate::apiserver::discovery;
use crate::apiserver::garbage;
use crate::apiserver::list;
use crate::apiserver::negotiate::{self, Form};
use crate::apiserver::openapi::OpenApi;
use crate::apiserver::options::{DeleteOptions, ListOptions, Query, WriteOptions};
use crate::apiserver::patching::{self, PatchType};
use crate::apiserver::path::{self, ObjectPath, Target};
use crate::apiserver::resource::{Registry, Resource, SubresourceRequest};
use crate::apiserver::status::{self, ApiError};
use crate::apiserver::table::Include;
use crate::apiserver::watch;
use crate::apiserver::write::{self, Place, Written};
use crate::clock::SharedClock;
use crate::store::Store;

/// What a server is told beside its store and its resources.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source of all times that are written.
    pub clock: SharedClock,
    /// The version of this program, which stands in `/version` beside that of the API.
    pub version: String,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) clock: SharedClock,
    pub(crate) version: String,
    pub(crate) open_api: OpenApi,
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
                open_api,
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

/// A request for objects, with everything that handlers look at.
struct Call<'a> {
    state: &'a State,
    resource: &'a Arc<Resource>,
    path: &'a ObjectPath,
    parts: &'a Parts,
    query: Query,
    warnings: Vec<String>,
}

impl State {
    async fn handle(&self, request: Request) -> Response<Body> {
        let mut response = match self.answer(request).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        };
        let headers = response.headers_mut();
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        }
        response
    }

    async fn answer(&self, request: Request) -> Result<Response<Body>, ApiError> {
        self.prepare().await?;
        let (parts, body) = request.into_parts();
        let target = path::parse(parts.uri.path());
        let path = match target {
            Target::Objects(path) => path,
            _ if parts.method != Method::GET && parts.method != Method::HEAD => {
                return Ok(match target {
                    Target::Unknown => answer::not_found(),
                    _ => ApiError::method_not_allowed().into_response(),
                });
            }
            Target::Unknown => return Ok(answer::not_found()),
            other => return Ok(self.document(&other, &parts)),
        };
        let Some(resource) = self.registry.find(&path.group, &path.version, &path.plural) else {
            return Ok(answer::not_found());
        };
        if !resource.namespaced && path.namespace.is_some() {
            return Ok(answer::not_found());
        }
        let query = Query::parse(parts.uri.query());
        let mut call =
            Call { state: self, resource, path: &path, parts: &parts, query, warnings: Vec::new() };
        let result = call.run(body).await;
        let warnings = std::mem::take(&mut call.warnings);
        let mut response = result.unwrap_or_else(ApiError::into_response);
        for warning in warnings {
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        Ok(response)
    }

    fn document(&self, target: &Target, parts: &Parts) -> Response<Body> {
        match target {
            Target::Root => discovery::root(&self.registry),
            Target::CoreVersions => discovery::core_versions(&self.registry, &parts.headers),
            Target::Groups => discovery::groups(&self.registry, &parts.headers),
            Target::Group(group) => discovery::group(&self.registry, group),
            Target::GroupVersion { group, version } => discovery::resources(&self.registry, group, version),
            Target::OpenApiIndex => self.open_api.index(),
            Target::OpenApiDocument(path) => self.open_api.document(path, parts),
            Target::Version => discovery::version(&self.version),
            Target::Health { endpoint, check } => {
                let is_verbose = Query::parse(parts.uri.query()).get("verbose").is_some();
                discovery::health(endpoint, check.as_deref(), is_verbose)
            }
            Target::Objects(_) | Target::Unknown => answer::not_found(),
        }
    }

    async fn prepare(&self) -> Result<(), ApiError> {
        self.prepared.get_or_try_init(|| self.write_standing_objects()).await.map(|()| ())
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
        for resource in self.registry.all() {
            let Some(definition) = &resource.definition else { continue };
            let name = format!("{}.{}", resource.plural, resource.group);
            let key = definitions.key("", &name);
            let found = self.store.get(&key).and_then(|entry| write::load(definitions, &entry.value).ok());
            let since = found
                .as_ref()
                .and_then(|object| object["metadata"]["creationTimestamp"].as_str())
                .map_or_else(|| crate::apiserver::metadata::time(self.clock.now()), str::to_owned);
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

    fn server_place<'a>(resource: &'a Resource, name: &'a str) -> Place<'a> {
        Place { resource, namespace: "", name, subresource: "", manager: "kube-apiserver" }
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

impl Call<'_> {
    async fn run(&mut self, body: Body) -> Result<Response<Body>, ApiError> {
        let method = &self.parts.method;
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match (&self.path.name, &self.path.subresource) {
            (None, _) if is_read => self.list(),
            // Objects of a namespaced kind are written in a namespace only.
            (None, _) if self.resource.namespaced && self.path.namespace.is_none() => {
                Err(ApiError::method_not_allowed())
            }
            (None, _) if *method == Method::POST => self.create(body).await,
            (None, _) if *method == Method::DELETE => self.delete_collection(body).await,
            (Some(name), _) if self.resource.namespaced && self.path.namespace.is_none() => {
                let _ = name;
                Ok(answer::not_found())
            }
            (Some(name), None) if is_read => {
                if Query::parse(self.parts.uri.query()).get("watch").is_some_and(|flag| flag != "false") {
                    return self.list();
                }
                self.get(name)
            }
            (Some(name), Some(subresource)) if is_read => self.get_subresource(name, subresource).await,
            (Some(_), Some(subresource)) if !self.is_written_subresource(subresource) => {
                if self.resource.subresources.contains_key(subresource) {
                    return Err(ApiError::method_not_allowed());
                }
                Ok(answer::not_found())
            }
            (Some(name), subresource) if *method == Method::PUT => {
                let subresource = subresource.as_deref().unwrap_or_default();
                self.replace(name, subresource, body).await
            }
            (Some(name), subresource) if *method == Method::PATCH => {
                let subresource = subresource.as_deref().unwrap_or_default();
                self.patch(name, subresource, body).await
            }
            (Some(name), None) if *method == Method::DELETE => self.delete(name, body).await,
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    fn is_written_subresource(&self, subresource: &str) -> bool {
        (subresource == "status" && self.resource.has_status)
            || (subresource == "finalize" && self.resource.core.is_some_and(|core| core.kind == "Namespace"))
    }

    fn namespace(&self) -> &str {
        self.path.namespace.as_deref().unwrap_or_default()
    }

    fn form(&self) -> Result<Form, ApiError> {
        negotiate::form(&self.parts.headers)
    }

    /// Returns who the written fields belong to: the stated manager, or the program's name from the User-Agent.
    fn manager(&self, options: &WriteOptions) -> String {
        if !options.field_manager.is_empty() {
            return options.field_manager.clone();
        }
        let agent = self.parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        agent.unwrap_or_default().split('/').next().unwrap_or_default().chars().take(128).collect()
    }

    fn refuse_if_read_only(&self, verb: &str) -> Result<(), ApiError> {
        if !self.resource.is_read_only() {
            return Ok(());
        }
        let mut error = ApiError::verb_not_supported(self.resource.subject(), verb);
        error.message = format!("{}: the kinds of this server are built in", error.message);
        Err(error)
    }

    fn get(&self, name: &str) -> Result<Response<Body>, ApiError> {
        let form = self.form()?;
        let entry = self
            .state
            .store
            .get(&self.resource.key(self.namespace(), name))
            .ok_or_else(|| ApiError::not_found(self.resource.subject(), name))?;
        if let Some(asked) = self.query.get("resourceVersion").filter(|text| !text.is_empty()) {
            let asked: u64 = asked
                .parse()
                .map_err(|_| crate::apiserver::options::bad_revision("resourceVersion", asked))?;
            let current = self.state.store.revision();
            if asked > current {
                return Err(ApiError::too_large_resource_version(asked, current));
            }
        }
        let now = self.state.clock.now();
        answer::object(StatusCode::OK, self.resource, &entry.value, form, &self.query, now)
    }

    async fn get_subresource(&self, name: &str, subresource: &str) -> Result<Response<Body>, ApiError> {
        if self.is_written_subresource(subresource) && subresource == "status" {
            return self.get(name);
        }
        let Some(handler) = self.resource.subresources.get(subresource) else {
            return Ok(answer::not_found());
        };
        let entry = self
            .state
            .store
            .get(&self.resource.key(self.namespace(), name))
            .ok_or_else(|| ApiError::not_found(self.resource.subject(), name))?;
        let request = SubresourceRequest {
            namespace: self.namespace().to_owned(),
            name: name.to_owned(),
            object: write::load(self.resource, &entry.value)?,
            query: self.query.to_map(),
        };
        Ok(handler(request).await)
    }

    fn list(&self) -> Result<Response<Body>, ApiError> {
        let form = self.form()?;
        let options = ListOptions::parse(&self.query, self.resource, self.path.name.as_deref())?;
        let namespace = self.path.namespace.as_deref();
        if options.watch {
            let include = Include::parse(&self.query)?;
            return watch::watch(self.state, self.resource, namespace, &options, form, include);
        }
        let listed = list::list(self.state, self.resource, namespace, &options)?;
        answer::list(self.resource, &listed, form, &self.query, self.state.clock.now())
    }

    async fn create(&mut self, body: Body) -> Result<Response<Body>, ApiError> {
        self.refuse_if_read_only("create")?;
        let form = self.form()?;
        let encoding = negotiate::encoding(&self.parts.headers, self.resource.core.is_some())?;
        let bytes = body::read(body).await?;
        let options = WriteOptions::parse(&self.query, "CreateOptions", false)?;
        let incoming = body::decode(self.resource, &bytes, encoding)?;
        body::judge(self.resource, &incoming, options.field_validation, &mut self.warnings)?;
        let manager = self.manager(&options);
        let place = Place {
            resource: self.resource,
            namespace: self.namespace(),
            name: "",
            subresource: "",
            manager: &manager,
        };
        let written = write::create(self.state, &place, incoming.object, &options).await?;
        self.written(&written, form)
    }

    async fn replace(
        &mut self,
        name: &str,
        subresource: &str,
        body: Body,
    ) -> Result<Response<Body>, ApiError> {
        self.refuse_if_read_only("update")?;
        let form = self.form()?;
        let bytes = body::read(body).await?;
        let options = WriteOptions::parse(&self.query, "UpdateOptions", false)?;
        let encoding = negotiate::encoding(&self.parts.headers, self.resource.core.is_some())?;
        let incoming = body::decode(self.resource, &bytes, encoding)?;
        body::judge(self.resource, &incoming, options.field_validation, &mut self.warnings)?;
        let manager = self.manager(&options);
        let place = Place {
            resource: self.resource,
            namespace: self.namespace(),
            name,
            subresource,
            manager: &manager,
        };
        let mut object = incoming.object;
        write::set_namespace(&place, &mut object)?;
        write::check_name(&place, &object)?;
        let may_create =
            subresource.is_empty() && self.resource.core.is_some_and(|core| core.creates_on_update);
        let written = write::update(self.state, &place, options.dry_run, may_create, |old, now| {
            Ok(place.own(old, object, now))
        })
        .await?;
        self.written(&written, form)
    }

    async fn patch(&mut self, name: &str, subresource: &str, body: Body) -> Result<Response<Body>, ApiError> {
        self.refuse_if_read_only("patch")?;
        let patch_type = PatchType::parse(negotiate::content_type(&self.parts.headers), self.resource)?;
        let form = self.form()?;
        let bytes = body::read(body).await?;
        let options = WriteOptions::parse(&self.query, "PatchOptions", patch_type == PatchType::Apply)?;
        let manager = self.manager(&options);
        let place = Place {
            resource: self.resource,
            namespace: self.namespace(),
            name,
            subresource,
            manager: &manager,
        };
        let mut warnings = Vec::new();
        let result = patching::patch(self.state, &place, patch_type, &bytes, &options, &mut warnings).await;
        self.warnings.append(&mut warnings);
        self.written(&result?, form)
    }

    fn written(&self, written: &Written, form: Form) -> Result<Response<Body>, ApiError> {
        let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        answer::object(code, self.resource, &written.bytes, form, &self.query, self.state.clock.now())
    }

    async fn delete_options(&self, body: Body) -> Result<DeleteOptions, ApiError> {
        let bytes = body::read(body).await?;
        if bytes.is_empty() {
            return DeleteOptions::parse(&self.query, None);
        }
        let encoding = negotiate::encoding(&self.parts.headers, true)?;
        let options = body::delete_options(&bytes, encoding)?;
        DeleteOptions::parse(&self.query, Some(&options))
    }

    async fn delete(&self, name: &str, body: Body) -> Result<Response<Body>, ApiError> {
        self.refuse_if_read_only("delete")?;
        let form = self.form()?;
        let options = self.delete_options(body).await?;
        let deleted = delete::delete(self.state, self.resource, self.namespace(), name, &options).await?;
        match deleted {
            Deleted::Gone(details) => {
                let mut body = status::success(&details);
                body.push(b'\n');
                Ok(answer::json(StatusCode::OK, body))
            }
            Deleted::Terminating(bytes) => {
                let code = if options.wants_accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
                answer::object(code, self.resource, &bytes, form, &self.query, self.state.clock.now())
            }
        }
    }

    async fn delete_collection(&self, body: Body) -> Result<Response<Body>, ApiError> {
        self.refuse_if_read_only("deletecollection")?;
        let form = self.form()?;
        let list_options = ListOptions::parse(&self.query, self.resource, None)?;
        let options = self.delete_options(body).await?;
        let namespace = self.path.namespace.as_deref();
        let listed = list::list(self.state, self.resource, namespace, &list_options)?;
        delete::delete_all(self.state, self.resource, &listed.items, &options).await?;
        answer::list(self.resource, &listed, form, &self.query, self.state.clock.now())
    }
}
