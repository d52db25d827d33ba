//! What schemas made from the types can't say by themselves.

use schemars::Schema;
use serde_json::{Value, json};

/// Of texts of 1 to 64 bytes of UTF-8: JSON Schema counts letters and not bytes.
pub(crate) const ID_FORMAT: &str = "omega-id";
/// Letters that such a text has at most.
const ID_LETTERS_MAX: u64 = 64;

/// Says of every id that it is one.
pub(crate) fn name_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_id = fields.get("maxLength").is_some_and(|max| *max == ID_LETTERS_MAX);
            if is_id {
                fields.insert("format".into(), ID_FORMAT.into());
            }
            fields.values_mut().for_each(name_formats);
        }
        Value::Array(values) => values.iter_mut().for_each(name_formats),
        _ => {}
    }
}

/// A command has the fields of its type and no others.
pub(crate) fn each_command(schema: &mut Schema) {
    let plain = ["play", "pause", "stop", "volume_mute", "volume_unmute"];
    let kinds = plain.into_iter().map(|kind| (kind, None, None)).chain([
        ("seek", Some("position_seconds"), None),
        ("volume_set", Some("level"), None),
        ("load_content", Some("content_id"), Some("start_position")),
        ("cast_to", Some("target_device_id"), None),
    ]);
    let Some(all) = schema.get("properties").cloned() else { return };
    let variants: Vec<Value> = kinds
        .map(|(kind, needed, possible)| {
            let mut fields = json!({"type": {"type": "string", "const": kind}});
            for name in [needed, possible].into_iter().flatten() {
                fields[name] = all[name].clone();
                if Some(name) == needed {
                    // It may not be null either.
                    fields[name]["type"] = without_null(&all[name]["type"]);
                }
            }
            let required: Vec<&str> = ["type"].into_iter().chain(needed).collect();
            json!({
                "type": "object", "properties": fields, "required": required,
                "additionalProperties": false,
            })
        })
        .collect();
    for name in ["type", "properties", "required", "additionalProperties"] {
        schema.remove(name);
    }
    schema.insert("oneOf".into(), variants.into());
}

fn without_null(kind: &Value) -> Value {
    match kind.as_array() {
        Some(kinds) => kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default(),
        None => kind.clone(),
    }
}
