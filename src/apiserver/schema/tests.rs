use serde_json::json;

use super::*;

#[test]
fn an_object_is_pruned_filled_and_checked() {
    let schema = Structural::parse(&json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"},
            "size": {"type": "integer", "default": 3, "maximum": 5},
        }}},
    }))
    .unwrap();
    let object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"}, "spec": {"size": null, "odd": 1}});
    let admission = schema.admit(object, None, |_, _| Vec::new());
    assert_eq!(admission.unknown, ["spec.odd"]);
    assert_eq!(admission.object["spec"], json!({"size": 3}));
    let texts: Vec<_> = admission.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec.name: Required value",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
             correct the existing errors to complete validation",
        ]
    );
}
