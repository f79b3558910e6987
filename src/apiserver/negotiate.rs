//! Which form of an answer a client accepts, and which form of a body it sends.

use axum::http::{HeaderMap, header};

use crate::apiserver::status::ApiError;

/// The forms in which objects are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    Object,
    /// A `Table` in the given version of `meta.k8s.io`.
    Table(MetaVersion),
    /// Metadata alone, or a list of such.
    Partial { version: MetaVersion, list: bool },
}

/// A version of the group `meta.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    /// Returns `meta.k8s.io/VERSION`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// The media types in which objects are answered.
const ANSWERS: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// One clause of an Accept header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clause {
    pub(crate) media_type: String,
    parameters: Vec<(String, String)>,
    quality: f32,
}

impl Clause {
    /// Returns a parameter's value, empty when it is absent.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether an encoding that answers have satisfies the clause.
    pub(crate) fn is_readable(&self) -> bool {
        self.takes_json() || self.media_type == "application/yaml"
    }

    /// Whether JSON satisfies the clause.
    pub(crate) fn takes_json(&self) -> bool {
        matches!(self.media_type.as_str(), "application/json" | "application/*" | "*/*")
    }
}

/// Returns the clauses of the Accept headers, the most wanted first.
pub(crate) fn accept(headers: &HeaderMap) -> Vec<Clause> {
    let mut clauses = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let mut pieces = part.split(';').map(str::trim);
            let media_type = pieces.next().unwrap_or_default().to_ascii_lowercase();
            if media_type.is_empty() {
                continue;
            }
            let mut clause = Clause { media_type, parameters: Vec::new(), quality: 1.0 };
            for piece in pieces {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                let value = value.trim().trim_matches('"');
                if name.trim() == "q" {
                    clause.quality = value.parse().unwrap_or(1.0);
                } else {
                    clause.parameters.push((name.trim().to_owned(), value.to_owned()));
                }
            }
            clauses.push(clause);
        }
    }
    // A stable sort keeps the client's order among equals.
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// Returns the form in which to answer with objects; JSON is the only encoding.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    let clauses = accept(headers);
    if clauses.is_empty() {
        return Ok(Form::Object);
    }
    for clause in clauses.iter().filter(|clause| clause.is_readable()) {
        let stream = clause.parameter("stream");
        if !stream.is_empty() && stream != "watch" {
            continue;
        }
        let version = (clause.parameter("g") == "meta.k8s.io")
            .then(|| MetaVersion::parse(clause.parameter("v")))
            .flatten();
        match (clause.parameter("as"), version) {
            ("", _) if clause.parameter("g").is_empty() && clause.parameter("v").is_empty() => {
                return Ok(Form::Object);
            }
            ("Table", Some(version)) => return Ok(Form::Table(version)),
            ("PartialObjectMetadata", Some(version)) => return Ok(Form::Partial { version, list: false }),
            ("PartialObjectMetadataList", Some(version)) => return Ok(Form::Partial { version, list: true }),
            _ => {}
        }
    }
    Err(refusal())
}

/// Returns the refusal of a request none of whose forms can be answered.
pub(crate) fn refusal() -> ApiError {
    ApiError::not_acceptable(&ANSWERS)
}

/// The encodings of request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// Returns the media type of the body, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Returns how the body of a create, update or deletion is encoded. Without a Content-Type it is JSON.
pub(crate) fn encoding(headers: &HeaderMap, takes_protobuf: bool) -> Result<Encoding, ApiError> {
    match content_type(headers) {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" if takes_protobuf => Ok(Encoding::Protobuf),
        _ => Err(ApiError::unsupported_media_type(&ANSWERS)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))])
    }

    #[test]
    fn the_first_form_that_can_be_answered_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(&headers(kubectl)).unwrap(), Form::Table(MetaVersion::V1));
        assert_eq!(form(&headers("application/json;as=Chair;v=v1;g=x,*/*")).unwrap(), Form::Object);
        assert_eq!(
            form(&headers("application/vnd.kubernetes.protobuf,application/json")).unwrap(),
            Form::Object
        );
        assert_eq!(form(&headers("text/html;q=0.9, */*;q=0.1")).unwrap(), Form::Object);
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::Object);
        assert_eq!(form(&headers("image/png")).unwrap_err().code, 406);
    }

    #[test]
    fn bodies_without_a_type_are_json() {
        assert_eq!(encoding(&HeaderMap::new(), false).unwrap(), Encoding::Json);
        let typed = |value| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert_eq!(encoding(&typed("application/json; charset=utf-8"), false).unwrap(), Encoding::Json);
        assert_eq!(
            encoding(&typed("application/vnd.kubernetes.protobuf"), true).unwrap(),
            Encoding::Protobuf
        );
        assert_eq!(encoding(&typed("application/vnd.kubernetes.protobuf"), false).unwrap_err().code, 415);
    }
}
