//! The words in which the list of behaviours is written.

use serde_json::Value;

/// One behaviour: a name, and the steps that show it, run in a namespace of its own.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One thing that is done to a server.
///
/// Paths and bodies may hold `{namespace}`, the abbreviations of [`PATHS`] and values kept by [`Call::keep`].
pub(crate) enum Step {
    /// Sends a request and looks at the whole answer.
    Send(Call),
    /// Sends a request until it is answered with this status, and looks at nothing else: for what a server
    /// does after its answer.
    Await(Call, u16),
    /// Opens a watch under a name and looks at the status and the headers.
    Open(&'static str, Call),
    /// Looks at the next events of an open watch, as many as given.
    Events(&'static str, usize),
    /// Looks at the rest of an open watch, which ends by itself.
    Rest(&'static str),
}

/// What is looked at in the body of an answer.
#[derive(Clone)]
pub(crate) enum Look {
    /// Every byte.
    Whole,
    /// The value at a JSON pointer, written anew.
    At(&'static str),
    /// The value at a JSON pointer without the descriptions in it, written anew: how the API's documentation is worded
    /// is not its behaviour.
    Undescribed(&'static str),
    /// The member of the list at the pointer whose value at the second pointer is the text, written anew.
    Member(&'static str, &'static str, &'static str),
    /// Nothing.
    Nothing,
}

/// A request, and what to do with its answer.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) look: Look,
    pub(crate) keep: Vec<(&'static str, &'static str)>,
}

/// The abbreviations of paths: what a case writes, and what is sent.
pub(crate) const PATHS: &[(&str, &str)] = &[
    ("{gadgets}", "/apis/example.com/v1/namespaces/{namespace}/gadgets"),
    ("{configmaps}", "/api/v1/namespaces/{namespace}/configmaps"),
    ("{secrets}", "/api/v1/namespaces/{namespace}/secrets"),
    ("{core-events}", "/api/v1/namespaces/{namespace}/events"),
    ("{events}", "/apis/events.k8s.io/v1/namespaces/{namespace}/events"),
    ("{leases}", "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
];

pub(crate) const JSON: &str = "application/json";
pub(crate) const YAML: &str = "application/yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
pub(crate) const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// What a request carries: JSON or text as it stands.
pub(crate) struct Content(String);

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Case {
    pub(crate) fn new(name: &str, steps: impl IntoIterator<Item = impl Into<Step>>) -> Self {
        Self { name: name.to_owned(), steps: steps.into_iter().map(Into::into).collect() }
    }
}

impl From<Call> for Step {
    fn from(call: Call) -> Self {
        Self::Send(call)
    }
}

impl Call {
    fn new(method: &'static str, path: &str, content: Option<(&str, Content)>) -> Self {
        let mut headers = vec![("user-agent", "conformance/1".to_owned()), ("accept", JSON.to_owned())];
        let mut body = String::new();
        if let Some((content_type, content)) = content {
            headers.push(("content-type", content_type.to_owned()));
            body = content.0;
        }
        Self { method, path: path.to_owned(), headers, body, look: Look::Whole, keep: Vec::new() }
    }

    /// Asks for another form of the answer.
    pub(crate) fn accept(self, accept: &str) -> Self {
        self.header("accept", Some(accept))
    }

    /// Says another type of the body, or none.
    pub(crate) fn content_type(self, content_type: Option<&str>) -> Self {
        self.header("content-type", content_type)
    }

    /// Sets a header, or leaves it out.
    pub(crate) fn header(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.retain(|(given, _)| *given != name);
        self.headers.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    /// Looks at a part of the body only.
    pub(crate) fn look(mut self, look: Look) -> Self {
        self.look = look;
        self
    }

    /// Keeps the value at `pointer` of the answer for later steps, which write it as `{name}`.
    pub(crate) fn keep(mut self, name: &'static str, pointer: &'static str) -> Self {
        self.keep.push((name, pointer));
        self
    }
}

pub(crate) fn get(path: &str) -> Call {
    Call::new("GET", path, None)
}

pub(crate) fn post(path: &str, body: impl Into<Content>) -> Call {
    Call::new("POST", path, Some((JSON, body.into())))
}

pub(crate) fn put(path: &str, body: impl Into<Content>) -> Call {
    Call::new("PUT", path, Some((JSON, body.into())))
}

pub(crate) fn delete(path: &str) -> Call {
    Call::new("DELETE", path, None)
}

pub(crate) fn delete_with(path: &str, options: impl Into<Content>) -> Call {
    Call::new("DELETE", path, Some((JSON, options.into())))
}

pub(crate) fn merge(path: &str, body: impl Into<Content>) -> Call {
    Call::new("PATCH", path, Some((MERGE, body.into())))
}

pub(crate) fn json_patch(path: &str, body: impl Into<Content>) -> Call {
    Call::new("PATCH", path, Some((JSON_PATCH, body.into())))
}

pub(crate) fn strategic(path: &str, body: impl Into<Content>) -> Call {
    Call::new("PATCH", path, Some((STRATEGIC, body.into())))
}

/// A server-side apply by `manager`.
pub(crate) fn apply(manager: &str, path: &str, body: impl Into<Content>) -> Call {
    Call::new("PATCH", &with_query(path, &format!("fieldManager={manager}")), Some((APPLY, body.into())))
}

/// A server-side apply by `manager` that takes over what others own.
pub(crate) fn force(manager: &str, path: &str, body: impl Into<Content>) -> Call {
    apply(manager, &with_query(path, "force=true"), body)
}

/// Any other request.
pub(crate) fn call(method: &'static str, path: &str) -> Call {
    Call::new(method, path, None)
}

fn with_query(path: &str, query: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}")
}
