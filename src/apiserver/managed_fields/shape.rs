//! How the values of a kind merge: what is a leaf, what is split into fields, which lists have identities.
//!
//! The rules are those by which kube-apiserver turns OpenAPI into merge types: lists are leaves unless declared
//! otherwise, objects are split, and what has no schema is deduced from the value (objects split, lists leaves).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use crate::apiserver::schema::structural::{Additional, ListType, Node, Structural};

/// How the objects of one kind merge, for [`super::apply`] and [`super::update`].
#[derive(Debug, Clone)]
pub struct Shape {
    root: Ref,
    /// What an object that does not exist yet counts as. Typed kinds carry fields that are always present.
    blank: Value,
    /// Whether the kind is served in one version, so that all entries must be in it.
    only_version: bool,
}

/// The alternatives for one place; which one holds depends on the value found there.
#[derive(Debug, Clone, Default)]
pub(super) struct Atom {
    pub(super) scalar: Option<Scalar>,
    pub(super) list: Option<List>,
    pub(super) map: Option<Fields>,
}

/// A reference to an atom; the two untyped ones refer to themselves.
#[derive(Debug, Clone)]
pub(super) enum Ref {
    Of(Arc<Atom>),
    /// Without a schema: objects are split into fields, lists are leaves.
    Deduced,
    /// Without a schema, inside a leaf.
    Untyped,
}

/// What a single value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Number,
    Text,
    Boolean,
    Any,
}

/// A list and what tells its items apart.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) identity: Identity,
    pub(super) items: Ref,
}

/// What tells the items of a list apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Nothing: the list is one leaf.
    Atomic,
    /// Their value: a set.
    Value,
    /// The values of these fields; a missing one counts as the value beside it, if there is one.
    Keys(Vec<(String, Option<Value>)>),
}

/// An object with known fields, others, or both.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) atomic: bool,
    pub(super) known: BTreeMap<String, Ref>,
    /// The type of all other fields; without one they are errors.
    pub(super) others: Option<Ref>,
}

static DEDUCED: LazyLock<Atom> = LazyLock::new(|| Atom {
    scalar: Some(Scalar::Any),
    list: Some(List { identity: Identity::Atomic, items: Ref::Untyped }),
    map: Some(Fields { atomic: false, known: BTreeMap::new(), others: Some(Ref::Deduced) }),
});

static UNTYPED: LazyLock<Atom> = LazyLock::new(|| Atom {
    scalar: Some(Scalar::Any),
    list: Some(List { identity: Identity::Atomic, items: Ref::Untyped }),
    map: Some(Fields { atomic: true, known: BTreeMap::new(), others: Some(Ref::Untyped) }),
});

static OBJECT_META: LazyLock<Ref> = LazyLock::new(object_meta);

impl Shape {
    /// Returns the shape of a custom resource with this schema.
    pub fn of_custom_resource(schema: &Structural) -> Self {
        let mut root = atom_of(schema.root(), false);
        if let Some(map) = &mut root.map {
            map.known.insert("metadata".to_owned(), OBJECT_META.clone());
            map.known.insert("apiVersion".to_owned(), text());
            map.known.insert("kind".to_owned(), text());
        }
        Self { root: of(root), blank: json!({}), only_version: true }
    }

    /// Returns the shape of a built-in kind, or nothing for a kind that this server does not have.
    pub fn of_core(api_version: &str, kind: &str) -> Option<Self> {
        let (fields, blank) = match (api_version, kind) {
            ("v1", "ConfigMap") => (
                vec![("data", map_of(text())), ("binaryData", map_of(text())), ("immutable", boolean())],
                json!({"metadata": {}}),
            ),
            ("v1", "Secret") => (
                vec![
                    ("data", map_of(text())),
                    ("stringData", map_of(text())),
                    ("immutable", boolean()),
                    ("type", text()),
                ],
                json!({"metadata": {}}),
            ),
            ("v1", "Namespace") => (
                vec![("spec", namespace_spec()), ("status", namespace_status())],
                json!({"metadata": {}, "spec": {}, "status": {}}),
            ),
            ("v1", "Event") => (
                core_event(),
                json!({
                    "metadata": {}, "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
                    "eventTime": null, "reportingComponent": "", "reportingInstance": "",
                }),
            ),
            ("events.k8s.io/v1", "Event") => (
                grouped_event(),
                json!({
                    "metadata": {}, "regarding": {}, "eventTime": null, "deprecatedSource": {},
                    "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
                }),
            ),
            ("coordination.k8s.io/v1", "Lease") => {
                (vec![("spec", lease_spec())], json!({"metadata": {}, "spec": {}}))
            }
            _ => return None,
        };
        let mut fields = fields;
        fields.extend([("metadata", OBJECT_META.clone()), ("apiVersion", text()), ("kind", text())]);
        Some(Self { root: object(fields), blank, only_version: false })
    }

    pub(super) fn root(&self) -> &Ref {
        &self.root
    }

    /// Returns whether entries in the terms of another version than the request's cannot be understood.
    pub(super) fn has_only_one_version(&self) -> bool {
        self.only_version
    }

    pub(super) fn blank(&self) -> &Value {
        &self.blank
    }
}

impl Ref {
    pub(super) fn atom(&self) -> &Atom {
        match self {
            Self::Of(atom) => atom,
            Self::Deduced => &DEDUCED,
            Self::Untyped => &UNTYPED,
        }
    }

    /// Returns whether the place has no schema at all.
    pub(super) fn is_deduced(&self) -> bool {
        matches!(self, Self::Deduced)
    }
}

impl Atom {
    /// Returns the alternative that holds for `value`; all of them when it is absent, null or of no allowed type.
    pub(super) fn choose(&self, value: Option<&Value>) -> Choice<'_> {
        match (value, &self.scalar, &self.list, &self.map) {
            (Some(Value::Number(_) | Value::String(_) | Value::Bool(_)), Some(scalar), _, _) => {
                Choice::Scalar(*scalar)
            }
            (Some(Value::Array(_)), _, Some(list), _) => Choice::List(list),
            (Some(Value::Object(_)), _, _, Some(map)) => Choice::Map(map),
            _ => self.any(),
        }
    }

    /// Returns whether both values choose the same alternative of this atom.
    pub(super) fn agree(&self, left: &Value, right: &Value) -> bool {
        self.pick(left) == self.pick(right)
    }

    /// Returns which alternative a value picks: 0 leaves all of them open.
    fn pick(&self, value: &Value) -> u8 {
        let alternatives =
            u8::from(self.scalar.is_some()) + u8::from(self.list.is_some()) + u8::from(self.map.is_some());
        match value {
            _ if alternatives == 1 => 1,
            Value::Number(_) | Value::String(_) | Value::Bool(_) if self.scalar.is_some() => 1,
            Value::Array(_) if self.list.is_some() => 2,
            Value::Object(_) if self.map.is_some() => 3,
            _ => 0,
        }
    }

    fn any(&self) -> Choice<'_> {
        match (&self.map, &self.scalar, &self.list) {
            (Some(map), _, _) => Choice::Map(map),
            (None, Some(scalar), _) => Choice::Scalar(*scalar),
            (None, None, Some(list)) => Choice::List(list),
            (None, None, None) => Choice::Scalar(Scalar::Any),
        }
    }
}

/// The alternative of an atom that a value takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice<'a> {
    Scalar(Scalar),
    List(&'a List),
    Map(&'a Fields),
}

impl Fields {
    /// Returns the type of a field, or nothing when the schema does not allow it.
    pub(super) fn field(&self, name: &str) -> Option<&Ref> {
        self.known.get(name).or(self.others.as_ref())
    }
}

fn atom_of(node: &Node, preserves: bool) -> Atom {
    let preserves = preserves || node.preserve_unknown_fields;
    let list = || List {
        identity: identity_of(node),
        items: node.items.as_ref().map_or(Ref::Untyped, |items| of(atom_of(items, preserves))),
    };
    match node.type_name.as_deref() {
        None => Atom { scalar: Some(Scalar::Any), list: Some(list()), map: Some(fields_of(node, preserves)) },
        Some("object") => Atom { map: Some(fields_of(node, preserves)), ..Atom::default() },
        Some("array") => Atom { list: Some(list()), ..Atom::default() },
        Some(name) => Atom { scalar: Some(scalar_of(name, node)), ..Atom::default() },
    }
}

fn scalar_of(type_name: &str, node: &Node) -> Scalar {
    match (type_name, node.validation.format.as_deref()) {
        ("integer" | "number", _) => Scalar::Number,
        ("boolean", _) => Scalar::Boolean,
        ("string", None | Some("" | "byte")) => Scalar::Text,
        _ => Scalar::Any,
    }
}

fn fields_of(node: &Node, preserves: bool) -> Fields {
    let mut known: BTreeMap<String, Ref> =
        node.properties.iter().map(|(name, node)| (name.clone(), of(atom_of(node, preserves)))).collect();
    if node.embedded_resource {
        known.insert("metadata".to_owned(), OBJECT_META.clone());
        known.insert("apiVersion".to_owned(), text());
        known.insert("kind".to_owned(), text());
    }
    let others = match &node.additional {
        Some(Additional::Schema(schema)) => Some(of(atom_of(schema, preserves))),
        Some(Additional::Any(true)) => Some(Ref::Deduced),
        Some(Additional::Any(false)) => None,
        None => (preserves || known.is_empty()).then_some(Ref::Deduced),
    };
    Fields { atomic: node.map_is_atomic, known, others }
}

fn identity_of(node: &Node) -> Identity {
    match &node.list_type {
        ListType::Atomic => Identity::Atomic,
        ListType::Set => Identity::Value,
        ListType::Map(keys) => Identity::Keys(
            keys.iter()
                .map(|key| {
                    let default = node
                        .items
                        .as_ref()
                        .and_then(|items| items.properties.get(key))
                        .and_then(|property| property.default.clone());
                    (key.clone(), default)
                })
                .collect(),
        ),
    }
}

fn of(atom: Atom) -> Ref {
    Ref::Of(Arc::new(atom))
}

fn scalar(scalar: Scalar) -> Ref {
    of(Atom { scalar: Some(scalar), ..Atom::default() })
}

fn text() -> Ref {
    scalar(Scalar::Text)
}

fn number() -> Ref {
    scalar(Scalar::Number)
}

fn boolean() -> Ref {
    scalar(Scalar::Boolean)
}

/// Times are strings with a format, which the real server does not hold to being strings here.
fn time() -> Ref {
    scalar(Scalar::Any)
}

fn map_of(values: Ref) -> Ref {
    of(Atom {
        map: Some(Fields { atomic: false, known: BTreeMap::new(), others: Some(values) }),
        ..Atom::default()
    })
}

fn list_of(identity: Identity, items: Ref) -> Ref {
    of(Atom { list: Some(List { identity, items }), ..Atom::default() })
}

fn object(fields: Vec<(&str, Ref)>) -> Ref {
    fields_ref(fields, false)
}

fn atomic_object(fields: Vec<(&str, Ref)>) -> Ref {
    fields_ref(fields, true)
}

fn fields_ref(fields: Vec<(&str, Ref)>, atomic: bool) -> Ref {
    let known = fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
    of(Atom { map: Some(Fields { atomic, known, others: None }), ..Atom::default() })
}

fn object_meta() -> Ref {
    let owner_reference = atomic_object(vec![
        ("apiVersion", text()),
        ("blockOwnerDeletion", boolean()),
        ("controller", boolean()),
        ("kind", text()),
        ("name", text()),
        ("uid", text()),
    ]);
    let entry = object(vec![
        ("apiVersion", text()),
        ("fieldsType", text()),
        ("fieldsV1", map_of(Ref::Deduced)),
        ("manager", text()),
        ("operation", text()),
        ("subresource", text()),
        ("time", time()),
    ]);
    object(vec![
        ("annotations", map_of(text())),
        ("creationTimestamp", time()),
        ("deletionGracePeriodSeconds", number()),
        ("deletionTimestamp", time()),
        ("finalizers", list_of(Identity::Value, text())),
        ("generateName", text()),
        ("generation", number()),
        ("labels", map_of(text())),
        ("managedFields", list_of(Identity::Atomic, entry)),
        ("name", text()),
        ("namespace", text()),
        (
            "ownerReferences",
            list_of(Identity::Keys(vec![("uid".to_owned(), Some(Value::from("")))]), owner_reference),
        ),
        ("resourceVersion", text()),
        ("selfLink", text()),
        ("uid", text()),
    ])
}

fn object_reference() -> Ref {
    let names = ["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"];
    atomic_object(names.into_iter().map(|name| (name, text())).collect())
}

fn event_source() -> Ref {
    object(vec![("component", text()), ("host", text())])
}

fn event_series() -> Ref {
    object(vec![("count", number()), ("lastObservedTime", time())])
}

fn core_event() -> Vec<(&'static str, Ref)> {
    vec![
        ("action", text()),
        ("count", number()),
        ("eventTime", time()),
        ("firstTimestamp", time()),
        ("involvedObject", object_reference()),
        ("lastTimestamp", time()),
        ("message", text()),
        ("reason", text()),
        ("related", object_reference()),
        ("reportingComponent", text()),
        ("reportingInstance", text()),
        ("series", event_series()),
        ("source", event_source()),
        ("type", text()),
    ]
}

fn grouped_event() -> Vec<(&'static str, Ref)> {
    vec![
        ("action", text()),
        ("deprecatedCount", number()),
        ("deprecatedFirstTimestamp", time()),
        ("deprecatedLastTimestamp", time()),
        ("deprecatedSource", event_source()),
        ("eventTime", time()),
        ("note", text()),
        ("reason", text()),
        ("regarding", object_reference()),
        ("related", object_reference()),
        ("reportingController", text()),
        ("reportingInstance", text()),
        ("series", event_series()),
        ("type", text()),
    ]
}

fn lease_spec() -> Ref {
    object(vec![
        ("acquireTime", time()),
        ("holderIdentity", text()),
        ("leaseDurationSeconds", number()),
        ("leaseTransitions", number()),
        ("preferredHolder", text()),
        ("renewTime", time()),
        ("strategy", text()),
    ])
}

fn namespace_spec() -> Ref {
    object(vec![("finalizers", list_of(Identity::Atomic, text()))])
}

fn namespace_status() -> Ref {
    let condition = object(vec![
        ("lastTransitionTime", time()),
        ("message", text()),
        ("reason", text()),
        ("status", text()),
        ("type", text()),
    ]);
    let conditions = list_of(Identity::Keys(vec![("type".to_owned(), Some(Value::from("")))]), condition);
    object(vec![("conditions", conditions), ("phase", text())])
}
