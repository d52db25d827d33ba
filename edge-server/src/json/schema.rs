//! What schemas made from the types can't say by themselves.

use super::value::MILLIS_MAX;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Texts of 1 to 64 bytes of UTF-8: JSON Schema counts letters and not bytes.
pub(crate) const ID_FORMAT: &str = "omega-id";
/// What ids look like: without control characters.
pub(crate) const ID_PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// Letters of an id at most, in the schema.
const ID_LETTERS_MAX: u64 = 64;
/// Texts of 1 to 32 bytes of UTF-8: genres.
const GENRE_FORMAT: &str = "omega-genre";
/// Letters of a genre at most, in the schema.
const GENRE_LETTERS_MAX: u64 = 32;

/// A title's or device's id.
pub(crate) fn id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": ID_PATTERN})
}

/// An id, or null.
pub(crate) fn optional_id(generator: &mut SchemaGenerator) -> Schema {
    or_null(id(generator))
}

/// A profile's id; empty for the default profile.
pub(crate) fn profile(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([0-9a-fA-F]{16})?$"})
}

/// Seconds.
pub(crate) fn seconds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "number", "format": "double", "minimum": 0, "maximum": u32::MAX})
}

/// Seconds, or null.
pub(crate) fn optional_seconds(generator: &mut SchemaGenerator) -> Schema {
    or_null(seconds(generator))
}

/// Unix milliseconds, or null.
pub(crate) fn millis(_: &mut SchemaGenerator) -> Schema {
    or_null(json_schema!({
        "type": "integer", "format": "uint64", "minimum": 0, "maximum": MILLIS_MAX,
    }))
}

/// A full timestamp, or null.
pub(crate) fn hlc(_: &mut SchemaGenerator) -> Schema {
    or_null(json_schema!({"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}))
}

fn or_null(mut schema: Schema) -> Schema {
    let kind = schema.get("type").cloned().unwrap_or_default();
    schema.insert("type".into(), json!([kind, "null"]));
    schema
}

/// Says of every id and genre that it is one.
pub(crate) fn name_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let format = match fields.get("maxLength").and_then(Value::as_u64) {
                Some(ID_LETTERS_MAX) => Some(ID_FORMAT),
                Some(GENRE_LETTERS_MAX) => Some(GENRE_FORMAT),
                _ => None,
            };
            if let Some(format) = format {
                fields.insert("format".into(), format.into());
            }
            fields.values_mut().for_each(name_formats);
        }
        Value::Array(values) => values.iter_mut().for_each(name_formats),
        _ => {}
    }
}

/// A form has no null, and no lists: what is there twice is an error, even if nobody knows it.
pub(crate) fn form(schema: &mut Schema) {
    schema.insert("additionalProperties".into(), json!({"type": "string"}));
    for field in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        field.1["type"] = without_null(&field.1["type"]);
    }
}

/// Puts variants, made of all fields, in the place of those. What else may be there stays as it is.
pub(crate) fn one_of(schema: &mut Schema, variants: impl FnOnce(&Value) -> Vec<Value>) {
    let Some(all) = schema.remove("properties") else { return };
    let others = schema.remove("additionalProperties").unwrap_or(true.into());
    let mut variants = variants(&all);
    variants.iter_mut().for_each(|variant| variant["additionalProperties"] = others.clone());
    for name in ["type", "required"] {
        schema.remove(name);
    }
    schema.insert("oneOf".into(), variants.into());
}

/// An object that says of which kind it is, needs some fields, which may not be null, and may have others.
pub(crate) fn variant(
    all: &Value,
    kind: Option<(&str, &str)>,
    needed: &[&str],
    possible: &[&str],
) -> Value {
    let mut fields = json!({});
    for name in needed.iter().chain(possible) {
        fields[name] = all[name].clone();
    }
    for name in needed {
        fields[name]["type"] = without_null(&all[name]["type"]);
    }
    if let Some((name, kind)) = kind {
        fields[name] = json!({"type": "string", "const": kind});
    }
    let required: Vec<&str> =
        kind.map(|(name, _)| name).into_iter().chain(needed.iter().copied()).collect();
    json!({"type": "object", "properties": fields, "required": required})
}

fn without_null(kind: &Value) -> Value {
    match kind.as_array() {
        Some(kinds) => kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default(),
        None => kind.clone(),
    }
}
