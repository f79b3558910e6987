//! What the server serves: one [`Resource`] per kind, made from its CustomResourceDefinition.
//!
//! Kinds are data. A resource is read once from the definition's JSON and never changes afterwards; requests look it
//! up by group, version and plural name in the [`Registry`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::apiserver::core_kinds::CoreKind;
use crate::apiserver::jsonpath::JsonPath;
use crate::apiserver::managed_fields::Shape as MergeShape;
use crate::apiserver::schema::Structural;
use crate::apiserver::status::Subject;

/// A rule of a kind that an object breaks; what a CEL rule reports on a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, in the form of Kubernetes field paths, such as `spec.branch`.
    pub path: String,
    /// What is wrong, for people.
    pub message: String,
    /// The kind of complaint.
    pub reason: ViolationReason,
}

/// The kinds of complaint that a CEL rule can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViolationReason {
    /// The value is not allowed.
    #[default]
    Invalid,
    /// The field may not be set here.
    Forbidden,
    /// The field is missing.
    Required,
    /// The value repeats another one.
    Duplicate,
}

/// Judges a new object, given the old one on updates. Stands in for the CEL that the definition also carries.
pub type Rules = Arc<dyn Fn(&Value, Option<&Value>) -> Vec<Violation> + Send + Sync>;

/// A request for a subresource that is answered outside of the server, such as a log.
#[derive(Debug, Clone)]
pub struct SubresourceRequest {
    /// The object's namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object as it is stored.
    pub object: Value,
    /// The query parameters; the first value of each.
    pub query: BTreeMap<String, String>,
}

/// Answers GET requests for a subresource.
pub type SubresourceHandler =
    Arc<dyn Fn(SubresourceRequest) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A column of `kubectl get`.
#[derive(Debug, Clone)]
pub(crate) struct PrinterColumn {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i32,
    pub(crate) path: JsonPath,
}

/// A kind that is served in one version.
#[derive(Clone)]
pub struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    pub(crate) schema: Arc<Structural>,
    /// How objects merge in server-side apply.
    pub(crate) merge_shape: Arc<MergeShape>,
    /// The OpenAPI v3 schema as it is published.
    pub(crate) open_api: Arc<Value>,
    pub(crate) columns: Vec<PrinterColumn>,
    pub(crate) selectable_fields: Vec<SelectableField>,
    pub(crate) rules: Option<Rules>,
    /// Whether the schema states rules at all.
    pub(crate) has_rules: bool,
    /// The definition this was made from; nothing for the kinds of Kubernetes itself.
    pub(crate) definition: Option<Arc<Value>>,
    pub(crate) core: Option<&'static CoreKind>,
    pub(crate) subresources: BTreeMap<String, SubresourceHandler>,
}

/// A field that field selectors may name besides `metadata.name` and `metadata.namespace`.
#[derive(Debug, Clone)]
pub(crate) struct SelectableField {
    /// The name in selectors, such as `spec.type`.
    pub(crate) name: String,
    /// The way to the value.
    pub(crate) path: Vec<String>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Resource({}/{} {})", self.group, self.version, self.kind)
    }
}

/// A CustomResourceDefinition that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the definition of {name} cannot be served: {reason}")]
pub struct DefinitionError {
    /// The definition's name, or what stands for it.
    pub name: String,
    /// What is missing or wrong.
    pub reason: String,
}

impl Resource {
    /// Reads the storage version of a CustomResourceDefinition (`apiextensions.k8s.io/v1`).
    ///
    /// # Errors
    /// When a part that the API demands is missing, the schema is not structural, or a printer column's path is
    /// outside of the supported subset.
    pub fn from_crd(definition: &Value, rules: Option<Rules>) -> Result<Self, DefinitionError> {
        let name = definition["metadata"]["name"].as_str().unwrap_or("a nameless kind").to_owned();
        let fault = |reason: &str| DefinitionError { name: name.clone(), reason: reason.to_owned() };
        let spec = &definition["spec"];
        let names = &spec["names"];
        let text = |value: &Value, what: &str| -> Result<String, DefinitionError> {
            value.as_str().map(str::to_owned).ok_or_else(|| fault(&format!("{what} is missing")))
        };
        let version = spec["versions"]
            .as_array()
            .and_then(|versions| versions.iter().find(|version| version["storage"] == Value::Bool(true)))
            .ok_or_else(|| fault("no version is the storage version"))?;
        let open_api = version["schema"]["openAPIV3Schema"].clone();
        let schema = Structural::parse(&open_api).map_err(|error| fault(&error.to_string()))?;
        let kind = text(&names["kind"], "spec.names.kind")?;
        let mut columns = Vec::new();
        let age = serde_json::json!({
            "name": "Age",
            "type": "date",
            "description": crate::apiserver::core_kinds::CREATED,
            "jsonPath": ".metadata.creationTimestamp",
        });
        if version["additionalPrinterColumns"].as_array().is_none_or(Vec::is_empty) {
            columns.push(printer_column(&age).map_err(|reason| fault(&reason))?);
        }
        for column in version["additionalPrinterColumns"].as_array().into_iter().flatten() {
            columns.push(printer_column(column).map_err(|reason| fault(&reason))?);
        }
        let mut selectable_fields = Vec::new();
        for field in version["selectableFields"].as_array().into_iter().flatten() {
            let path = text(&field["jsonPath"], "a selectable field's jsonPath")?;
            let name = path.trim_start_matches('.').to_owned();
            selectable_fields
                .push(SelectableField { path: name.split('.').map(str::to_owned).collect(), name });
        }
        Ok(Self {
            group: text(&spec["group"], "spec.group")?,
            version: text(&version["name"], "the version's name")?,
            list_kind: names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned),
            plural: text(&names["plural"], "spec.names.plural")?,
            singular: names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned),
            short_names: strings(&names["shortNames"]),
            categories: strings(&names["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            has_status: version["subresources"]["status"].is_object(),
            merge_shape: Arc::new(MergeShape::of_custom_resource(&schema)),
            schema: Arc::new(schema),
            columns,
            selectable_fields,
            has_rules: states_rules(&open_api),
            rules,
            definition: Some(Arc::new(definition.clone())),
            core: None,
            subresources: BTreeMap::new(),
            open_api: Arc::new(open_api),
            kind,
        })
    }

    /// Returns the resource with `handler` answering `GET …/NAME/{name}`.
    #[must_use]
    pub fn with_subresource(mut self, name: impl Into<String>, handler: SubresourceHandler) -> Self {
        self.subresources.insert(name.into(), handler);
        self
    }

    /// Brings an object on its way to the store into the form in which it is read again: without empty metadata, and
    /// without nulls that mean nothing. Only an apply still has them then, and validation has seen them: an applied null
    /// is a fault where the schema names a type, and nothing where it names none.
    ///
    /// A write of the status left the metadata as it was read before.
    pub(crate) fn read_back(&self, object: &mut Value, subresource: &str) {
        if self.core.is_some() {
            return;
        }
        self.schema.prune_nulls(object);
        if let Value::Object(fields) = object
            && subresource != "status"
        {
            // Metadata that cannot be read was refused when it came in.
            drop(Structural::coerce_metadata(fields));
        }
    }

    /// Returns `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Returns the kind's name.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether selectors may name `metadata.namespace`; the real server refuses it for cluster-scoped custom kinds.
    pub(crate) fn selects_namespace(&self) -> bool {
        self.namespaced || self.core.is_some()
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { group: &self.group, plural: &self.plural }
    }

    /// Returns the key below which every object of this resource lies in the store.
    pub(crate) fn prefix(&self) -> String {
        let group = self.core.map_or(self.group.as_str(), |core| core.storage_group);
        format!("{}/{}/", if group.is_empty() { "core" } else { group }, self.plural)
    }

    /// Returns the key of one object in the store. `namespace` is ignored for cluster-scoped kinds.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{}{namespace}/{name}", self.prefix())
        } else {
            format!("{}{name}", self.prefix())
        }
    }

    /// Returns the key below which the objects of `namespace` lie; all of them without one.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if self.namespaced => format!("{}{namespace}/", self.prefix()),
            _ => self.prefix(),
        }
    }

    /// Returns the namespace and the name that a store key spells.
    pub(crate) fn parse_key<'a>(&self, key: &'a str) -> (&'a str, &'a str) {
        let mut parts = key.rsplitn(3, '/');
        let name = parts.next().unwrap_or_default();
        let namespace = if self.namespaced { parts.next().unwrap_or_default() } else { "" };
        (namespace, name)
    }

    /// Whether clients may write objects of this kind.
    pub(crate) fn is_read_only(&self) -> bool {
        self.core.is_some_and(|core| core.read_only)
    }
}

fn states_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key("x-kubernetes-validations") || map.values().any(states_rules),
        Value::Array(items) => items.iter().any(states_rules),
        _ => false,
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn printer_column(column: &Value) -> Result<PrinterColumn, String> {
    let text = |key: &str| column[key].as_str().unwrap_or_default().to_owned();
    let name = text("name");
    let path =
        JsonPath::parse(&text("jsonPath")).map_err(|error| format!("printer column {name}: {error}"))?;
    Ok(PrinterColumn {
        kind: text("type"),
        format: text("format"),
        description: text("description"),
        priority: column["priority"].as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0),
        path,
        name,
    })
}

/// All resources of a server.
#[derive(Debug)]
pub(crate) struct Registry {
    resources: Vec<Arc<Resource>>,
}

impl Registry {
    /// Keeps the order in which discovery lists groups: the core group first, then the rest by name.
    pub(crate) fn new(mut resources: Vec<Resource>) -> Self {
        resources.sort_by(|a, b| (&a.group, &a.version, &a.plural).cmp(&(&b.group, &b.version, &b.plural)));
        Self { resources: resources.into_iter().map(Arc::new).collect() }
    }

    pub(crate) fn all(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| {
            resource.plural == plural && resource.group == group && resource.version == version
        })
    }

    /// Returns every group with its versions and their resources, in discovery order.
    pub(crate) fn groups(&self) -> BTreeMap<&str, BTreeMap<&str, Vec<&Arc<Resource>>>> {
        let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<&Arc<Resource>>>> = BTreeMap::new();
        for resource in &self.resources {
            groups.entry(&resource.group).or_default().entry(&resource.version).or_default().push(resource);
        }
        groups
    }
}
