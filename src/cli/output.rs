//! Objects as documents: YAML, JSON, or their names.

use clap::ValueEnum;
use kube::api::DynamicObject;
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::kinds;
use crate::cli::printer::Printer;
use crate::yaml;

/// How objects are printed for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// YAML
    Yaml,
    /// JSON
    Json,
    /// KIND.GROUP/NAME, one a line
    Name,
}

/// Prints one object.
pub(super) fn print_one(
    kind: Kind,
    object: &DynamicObject,
    format: Format,
    printer: Printer,
) -> Result<(), CommandError> {
    match format {
        Format::Name => print_name(kind, object, printer),
        Format::Json | Format::Yaml => print(&document(kind, object)?, format, printer),
    }
}

/// Prints a list of objects.
pub(super) fn print_list(
    kind: Kind,
    objects: &[DynamicObject],
    format: Format,
    printer: Printer,
) -> Result<(), CommandError> {
    if format == Format::Name {
        return objects.iter().try_for_each(|object| print_name(kind, object, printer));
    }
    let items = objects.iter().map(|object| document(kind, object)).collect::<Result<Vec<Value>, _>>()?;
    let list = serde_json::json!({
        "apiVersion": kind.api_version(), "kind": format!("{}List", kind.as_str()), "metadata": {}, "items": items,
    });
    print(&list, format, printer)
}

/// Prints a document as YAML or JSON.
pub(super) fn print(value: &Value, format: Format, printer: Printer) -> Result<(), CommandError> {
    match format {
        Format::Json => printer.line(serde_json::to_string_pretty(value).map_err(CommandError::internal)?),
        Format::Yaml | Format::Name => printer.data(yaml::write(value)),
    }
}

fn print_name(kind: Kind, object: &DynamicObject, printer: Printer) -> Result<(), CommandError> {
    printer.line(format_args!("{}.{}/{}", kinds::name(kind), kind.group(), object.name_any()))
}

/// Returns an object as a document without the bookkeeping of field owners.
fn document(kind: Kind, object: &DynamicObject) -> Result<Value, CommandError> {
    let mut object = object.clone();
    object.meta_mut().managed_fields = None;
    let mut value = serde_json::to_value(&object).map_err(CommandError::internal)?;
    value["apiVersion"] = Value::String(kind.api_version());
    value["kind"] = Value::String(kind.as_str().to_owned());
    Ok(value)
}
