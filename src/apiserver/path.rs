//! Which object, collection or document a URL path names.
//!
//! Kinds are data here, so paths are parsed by hand: `/api/VERSION/…` is the core group, `/apis/GROUP/VERSION/…` any
//! other. A path says nothing about what is served; the registry decides that.

use std::borrow::Cow;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/`
    Root,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/VERSION` or `/apis/GROUP/VERSION`
    GroupVersion { group: String, version: String },
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/PATH`
    OpenApiDocument(String),
    /// `/version`
    Version,
    /// `/healthz`, `/livez` or `/readyz`, with the check that is asked for alone, if any
    Health { endpoint: String, check: Option<String> },
    /// Objects
    Objects(ObjectPath),
    /// Anything else
    Unknown,
}

/// The coordinates of an object or a collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ObjectPath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// Whether the path has the old `watch` part, which asks for a watch.
    pub(crate) watch: bool,
}

/// The parts after a namespace's name that belong to the namespace itself.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Returns what `path` names. A slash at the end does not matter.
pub(crate) fn parse(path: &str) -> Target {
    let mut segments: Vec<Cow<'_, str>> = Vec::new();
    for raw in path.trim_matches('/').split('/') {
        match decode(raw) {
            // An escaped slash would let one segment name several parts.
            Some(segment) if !segment.contains('/') => segments.push(segment),
            _ => return Target::Unknown,
        }
    }
    let parts: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [""] => Target::Root,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => Target::GroupVersion { group: String::new(), version: (*version).to_owned() },
        ["apis", group, version] => {
            Target::GroupVersion { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["api", version, rest @ ..] => objects("", version, rest),
        ["apis", group, version, rest @ ..] => objects(group, version, rest),
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3"] => Target::OpenApiIndex,
        ["openapi", "v3", rest @ ..] => Target::OpenApiDocument(rest.join("/")),
        ["version"] => Target::Version,
        [endpoint @ ("healthz" | "livez" | "readyz"), rest @ ..] => Target::Health {
            endpoint: (*endpoint).to_owned(),
            check: (!rest.is_empty()).then(|| rest.join("/")),
        },
        _ => Target::Unknown,
    }
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Target {
    if rest.iter().any(|part| part.is_empty()) {
        return Target::Unknown;
    }
    let (watch, rest) = match rest {
        ["watch", inner @ ..] if !inner.is_empty() => (true, inner),
        other => (false, other),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, inner @ ..]
            if inner.first().is_some_and(|part| !NAMESPACE_SUBRESOURCES.contains(part)) =>
        {
            (Some((*namespace).to_owned()), inner)
        }
        other => (None, other),
    };
    let [plural, rest @ ..] = rest else { return Target::Unknown };
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some((*name).to_owned()), None),
        // What follows a subresource makes it one that nobody serves.
        [name, subresource @ ..] => (Some((*name).to_owned()), Some(subresource.join("/"))),
    };
    Target::Objects(ObjectPath {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: (*plural).to_owned(),
        namespace,
        name,
        subresource,
        watch,
    })
}

/// Returns `raw` with percent escapes resolved, or nothing when they are broken or do not spell UTF-8.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str) -> ObjectPath {
        match parse(path) {
            Target::Objects(object) => object,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn objects_are_found_at_every_depth() {
        let task = object("/apis/kelos.dev/v1alpha1/namespaces/team/tasks/fix/status");
        assert_eq!(
            task,
            ObjectPath {
                group: "kelos.dev".into(),
                version: "v1alpha1".into(),
                plural: "tasks".into(),
                namespace: Some("team".into()),
                name: Some("fix".into()),
                subresource: Some("status".into()),
                watch: false,
            }
        );
        assert_eq!(object("/api/v1/a/b/c/d").subresource.as_deref(), Some("c/d"));
        assert_eq!(object("/api/v1/namespaces").name, None);
        assert_eq!(object("/api/v1/namespaces/team").name.as_deref(), Some("team"));
        assert_eq!(object("/api/v1/namespaces/team").namespace, None);
        assert_eq!(object("/api/v1/namespaces/team/status").subresource.as_deref(), Some("status"));
        assert_eq!(object("/api/v1/namespaces/team/secrets").plural, "secrets");
        assert_eq!(object("/api/v1/namespaces/a%2Db/secrets/").namespace.as_deref(), Some("a-b"));
    }

    #[test]
    fn documents_have_their_own_paths() {
        assert_eq!(parse("/"), Target::Root);
        assert_eq!(parse("/apis/"), Target::Groups);
        assert_eq!(parse("/openapi/v3/apis/kelos.dev/v1alpha1"), {
            Target::OpenApiDocument("apis/kelos.dev/v1alpha1".into())
        });
        assert_eq!(
            parse("/readyz/ping"),
            Target::Health { endpoint: "readyz".into(), check: Some("ping".into()) }
        );
    }

    #[test]
    fn odd_paths_name_nothing() {
        for path in ["/nothing", "/api/v1//x", "/api/v1/secrets/a%2Fb", "/api/v1/x/%ff%", "//"] {
            let target = parse(path);
            assert!(matches!(target, Target::Unknown | Target::Root), "{path} is {target:?}");
        }
    }
}
