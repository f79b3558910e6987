//! A request for objects: which handler answers it, with which options.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};

use crate::apiserver::answer;
use crate::apiserver::body;
use crate::apiserver::delete::{self, Deleted};
use crate::apiserver::list;
use crate::apiserver::metadata;
use crate::apiserver::negotiate::{self, Form};
use crate::apiserver::options::{DeleteOptions, ListOptions, Query, WriteOptions, bad_revision};
use crate::apiserver::patching::{self, PatchType};
use crate::apiserver::path::ObjectPath;
use crate::apiserver::resource::{Resource, SubresourceRequest};
use crate::apiserver::server::State;
use crate::apiserver::status::{self, ApiError};
use crate::apiserver::table::Include;
use crate::apiserver::watch::{self, Carrier};
use crate::apiserver::write::{self, Place, Written};
use crate::store::Entry;

/// A request for objects, with everything that handlers look at.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a State,
    pub(crate) resource: &'a Arc<Resource>,
    pub(crate) path: &'a ObjectPath,
    pub(crate) parts: &'a Parts,
    pub(crate) query: Query,
    /// What the answer's Warning headers say; filled by handlers, also by those that fail.
    pub(crate) warnings: Vec<String>,
}

/// What the method asks of the path, as the real server names it.
fn verb(method: &Method, has_name: bool) -> &'static str {
    match (method.as_str(), has_name) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}

impl Call<'_> {
    /// Answers the request.
    pub(crate) async fn run(&mut self, body: Body) -> Result<Response<Body>, ApiError> {
        let path = self.path;
        let verb = verb(&self.parts.method, path.name.is_some());
        let is_core = self.resource.core.is_some();
        if self.resource.namespaced && path.namespace.is_none() && verb != "list" {
            // Only lists and watches reach over all namespaces.
            return match (is_core, &path.name) {
                (true, None) => Err(ApiError::method_not_allowed()),
                (true, Some(_)) => Err(ApiError::unknown_resource()),
                (false, _) => Ok(answer::not_found()),
            };
        }
        if let Some(subresource) = &path.subresource {
            return self.run_subresource(subresource, verb, body).await;
        }
        match (verb, path.name.as_deref()) {
            ("list", _) => self.list(None),
            ("create", name) if name.is_none() || !is_core => self.create(body).await,
            ("deletecollection", _) if !self.is_namespace() => self.delete_collection(body).await,
            ("get", Some(name)) if path.watch => self.list(Some(name)),
            ("get", Some(name)) => self.get(name),
            ("update", Some(name)) => self.replace(name, "", body).await,
            ("patch", Some(name)) => self.patch(name, "", body).await,
            ("delete", Some(name)) => self.delete(name, body).await,
            ("update" | "patch", None) if !is_core => {
                if verb == "patch" {
                    PatchType::parse(negotiate::content_type(&self.parts.headers), self.resource)?;
                }
                Err(ApiError::bad_request("name must be provided"))
            }
            _ => Err(self.unsupported(verb)),
        }
    }

    async fn run_subresource(
        &mut self,
        subresource: &str,
        verb: &str,
        body: Body,
    ) -> Result<Response<Body>, ApiError> {
        let name = self.path.name.as_deref().unwrap_or_default();
        let is_status = subresource == "status" && self.resource.has_status;
        let is_finalize = subresource == "finalize" && self.is_namespace();
        match verb {
            "get" if is_status => self.get(name),
            "update" if is_status || is_finalize => self.replace(name, subresource, body).await,
            "patch" if is_status => self.patch(name, subresource, body).await,
            _ if is_status || is_finalize => Err(self.unsupported(verb)),
            "get" => match self.resource.subresources.get(subresource) {
                Some(handler) => {
                    let entry = self.entry(name)?;
                    let request = SubresourceRequest {
                        namespace: self.namespace().to_owned(),
                        name: name.to_owned(),
                        object: write::load(self.resource, &entry.value)?,
                        query: self.query.to_map(),
                    };
                    Ok(handler(request).await)
                }
                None => Err(self.unknown_subresource(name)),
            },
            _ if self.resource.subresources.contains_key(subresource) => Err(self.unsupported(verb)),
            _ => Err(self.unknown_subresource(name)),
        }
    }

    fn unknown_subresource(&self, name: &str) -> ApiError {
        if self.resource.core.is_some() {
            ApiError::unknown_resource()
        } else {
            ApiError::not_found(self.resource.subject(), name)
        }
    }

    fn unsupported(&self, verb: &str) -> ApiError {
        if self.resource.core.is_some() {
            ApiError::method_not_allowed()
        } else {
            ApiError::verb_not_supported(self.resource.subject(), verb)
        }
    }

    fn is_namespace(&self) -> bool {
        self.resource.core.is_some_and(|core| core.kind == "Namespace")
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
        let reason = match self.resource.kind.as_str() {
            "Service" => "nothing here could serve one",
            _ => "the kinds of this server are built in",
        };
        error.message = format!("{}: {reason}", error.message);
        Err(error)
    }

    fn entry(&self, name: &str) -> Result<Entry, ApiError> {
        let key = self.resource.key(self.namespace(), name);
        self.state.store.get(&key).ok_or_else(|| ApiError::not_found(self.resource.subject(), name))
    }

    fn get(&self, name: &str) -> Result<Response<Body>, ApiError> {
        let form = self.form()?;
        if let Some(asked) = self.query.get("resourceVersion").filter(|text| !text.is_empty()) {
            let asked: u64 = asked.parse().map_err(|_| bad_revision("resourceVersion", asked))?;
            let current = self.state.store.revision();
            if asked > current {
                return Err(ApiError::too_large_resource_version(asked, current));
            }
        }
        let entry = self.entry(name)?;
        let now = self.state.clock.now();
        answer::object(StatusCode::OK, self.resource, &entry.value, form, &self.query, now)
    }

    /// Lists or watches, all objects or, by the old path of a watch, one.
    fn list(&self, name: Option<&str>) -> Result<Response<Body>, ApiError> {
        let form = self.form()?;
        let mut options = ListOptions::parse(&self.query, self.resource, self.path.watch)?;
        if let Some(name) = name {
            options.selection.fields.demand_name(name)?;
        }
        let namespace = self.path.namespace.as_deref();
        if options.watch {
            let include = Include::parse(&self.query)?;
            let carrier = self.parts.extensions.get::<Carrier>();
            return watch::watch(self.state, self.resource, namespace, &options, form, include, carrier);
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
        let mut incoming = body::decode(self.resource, &bytes, encoding)?;
        body::judge(self.resource, &incoming, options.field_validation, &mut self.warnings)?;
        self.warnings.extend(metadata::dedupe_owners(&mut incoming.object, false));
        let manager = self.manager(&options);
        let place = Place {
            resource: self.resource,
            namespace: self.namespace(),
            name: "",
            subresource: "",
            manager: &manager,
            uid_is_precondition: false,
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
        let mut incoming = body::decode(self.resource, &bytes, encoding)?;
        body::judge(self.resource, &incoming, options.field_validation, &mut self.warnings)?;
        self.warnings.extend(metadata::dedupe_owners(&mut incoming.object, false));
        let manager = self.manager(&options);
        let place = Place {
            resource: self.resource,
            namespace: self.namespace(),
            name,
            subresource,
            manager: &manager,
            uid_is_precondition: true,
        };
        let mut object = incoming.object;
        write::set_namespace(&place, &mut object)?;
        write::check_name(&place, &object)?;
        let may_create =
            subresource.is_empty() && self.resource.core.is_some_and(|core| core.creates_on_update);
        let written = write::update(self.state, &place, options.dry_run, may_create, |old, now| {
            Ok(place.own(old, object.clone(), now))
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
            uid_is_precondition: false,
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
        let list_options = ListOptions::parse(&self.query, self.resource, false)?;
        let options = self.delete_options(body).await?;
        let namespace = self.path.namespace.as_deref();
        let listed = list::list(self.state, self.resource, namespace, &list_options)?;
        delete::delete_all(self.state, self.resource, &listed.items, &options).await?;
        answer::list(self.resource, &listed, form, &self.query, self.state.clock.now())
    }
}
