//! `Table` answers: what `kubectl get` prints.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::apiserver::core_kinds::shape::{METADATA, Ordered};
use crate::apiserver::encode;
use crate::apiserver::list::ListMeta;
use crate::apiserver::negotiate::MetaVersion;
use crate::apiserver::options::Query;
use crate::apiserver::resource::{PrinterColumn, Resource};
use crate::apiserver::status::ApiError;
use crate::apiserver::write::stored_form;

/// What each row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    Object,
    Nothing,
}

impl Include {
    /// Reads the parameter `includeObject`.
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject") {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("Object") => Ok(Self::Object),
            Some("None") => Ok(Self::Nothing),
            Some(other) => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

#[derive(Serialize)]
struct Table<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: &'a ListMeta,
    #[serde(rename = "columnDefinitions")]
    column_definitions: Option<Vec<ColumnDefinition<'a>>>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct ColumnDefinition<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    format: &'a str,
    description: String,
    priority: i32,
}

#[derive(Serialize)]
struct Row {
    cells: Vec<Value>,
    object: Box<serde_json::value::RawValue>,
}

const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

/// Returns the table of `objects` as JSON without a line end. Columns are left out after the first table of a watch.
pub(crate) fn render(
    resource: &Resource,
    objects: &[Value],
    metadata: &ListMeta,
    version: MetaVersion,
    include: Include,
    with_columns: bool,
    now: Timestamp,
) -> Vec<u8> {
    let table = Table {
        kind: "Table",
        api_version: version.api_version(),
        metadata,
        column_definitions: with_columns.then(|| columns(resource)),
        rows: objects.iter().map(|object| row(resource, object, version, include, now)).collect(),
    };
    encode::to_vec(&table)
}

fn columns(resource: &Resource) -> Vec<ColumnDefinition<'_>> {
    let name = ColumnDefinition {
        name: "Name",
        kind: "string",
        format: "name",
        description: NAME_DESCRIPTION.to_owned(),
        priority: 0,
    };
    let mut columns = Vec::new();
    if let Some(core) = resource.core {
        columns.extend(core.columns.iter().map(|column| ColumnDefinition {
            name: column.name,
            kind: column.kind,
            format: "",
            description: column.description.to_owned(),
            priority: column.priority,
        }));
        // The table of events ends with the name instead of beginning with it.
        let position = core.name_column.min(columns.len());
        columns.insert(position, ColumnDefinition { priority: core.name_priority, ..name });
        return columns;
    }
    columns.push(name);
    columns.extend(resource.columns.iter().map(|column| ColumnDefinition {
        name: &column.name,
        kind: &column.kind,
        format: &column.format,
        description: if column.description.is_empty() {
            format!("Custom resource definition column (in JSONPath format): {}", column.path.text())
        } else {
            column.description.clone()
        },
        priority: column.priority,
    }));
    columns
}

fn row(resource: &Resource, object: &Value, version: MetaVersion, include: Include, now: Timestamp) -> Row {
    let name = Value::from(object["metadata"]["name"].as_str().unwrap_or_default());
    let mut cells = match resource.core {
        Some(core) => (core.cells)(object, now),
        None => resource.columns.iter().map(|column| cell(column, object, now)).collect(),
    };
    let position = resource.core.map_or(0, |core| core.name_column).min(cells.len());
    cells.insert(position, name);
    let bytes = match include {
        Include::Nothing => b"null".to_vec(),
        Include::Metadata => partial(object, version),
        Include::Object => crate::apiserver::answer::typed(resource, &stored_form(resource, object)),
    };
    let text = String::from_utf8(bytes).expect("because the encoder writes UTF-8");
    let object = serde_json::value::RawValue::from_string(text).expect("because the encoder writes JSON");
    Row { cells, object }
}

#[derive(Serialize)]
struct Partial<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: Ordered<'a>,
}

/// Returns the `PartialObjectMetadata` of an object as JSON.
pub(crate) fn partial(object: &Value, version: MetaVersion) -> Vec<u8> {
    encode::to_vec(&Partial {
        kind: "PartialObjectMetadata",
        api_version: version.api_version(),
        metadata: Ordered { value: &object["metadata"], shape: &METADATA },
    })
}

/// Returns the cell of a printer column.
fn cell(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    let found = column.path.find(object);
    let Some(value) = found.first() else { return Value::Null };
    match (column.kind.as_str(), value) {
        ("string", Value::String(text)) => Value::from(text.as_str()),
        ("string", Value::Null) => Value::from("<nil>"),
        ("string", other) => Value::from(encode::to_text(other)),
        ("integer", Value::Number(number)) => {
            #[expect(clippy::cast_possible_truncation, reason = "the real server cuts fractions off")]
            let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
            whole.map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*value).clone(),
        ("date", Value::String(_)) => Value::from(age(value, now)),
        _ => Value::Null,
    }
}

/// Returns how long ago an instant was, as tables show it.
pub(crate) fn age(time: &Value, now: Timestamp) -> String {
    match time.as_str() {
        None | Some("") => "<unknown>".to_owned(),
        Some(text) => match text.parse::<Timestamp>() {
            Ok(instant) => human(now.duration_since(instant)),
            Err(_) => "<invalid>".to_owned(),
        },
    }
}

/// Returns a duration in the short form of `kubectl get`: one or two units, the largest first.
pub(crate) fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let pair = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    // Clocks that are apart by less than two seconds are the same.
    if seconds < -1 {
        "<invalid>".to_owned()
    } else if seconds < 0 {
        "0s".to_owned()
    } else if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 192 {
        pair(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else if days < 2_920 {
        pair(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_740, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
