//! Answers in the form of a table.

use serde_json::json;

use super::super::step::{Case, TABLE, get, post, put};
use super::{config_map, full, gadget, small};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a table has the printer columns of the kind",
            [
                post("{gadgets}", full("one")),
                post("{gadgets}", small("two")),
                put(
                    "{gadgets}/two/status",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "two"}, "spec": {"size": 5},
                           "status": {"phase": "Ready", "conditions": [
                               {"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}}),
                ),
                get("{gadgets}").accept(TABLE),
                get("{gadgets}/two").accept(TABLE),
                get("{gadgets}?includeObject=Object").accept(TABLE),
                get("{gadgets}?includeObject=None").accept(TABLE),
                get("{gadgets}?includeObject=Nonsense").accept(TABLE),
                get("{gadgets}?limit=1").accept(TABLE),
            ],
        ),
        Case::new("an empty table", [get("{gadgets}").accept(TABLE), get("{configmaps}").accept(TABLE)]),
        Case::new("an error is no table", [get("{gadgets}/absent").accept(TABLE)]),
        Case::new(
            "a write can be answered by a table",
            [post("{gadgets}", gadget("one", json!({"size": 4}))).accept(TABLE)],
        ),
        Case::new(
            "older and unknown forms",
            [
                get("{gadgets}").accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io"),
                get("{gadgets}").accept("application/json;as=Nonsense;v=v1;g=meta.k8s.io"),
                get("{gadgets}").accept("application/json;as=Nonsense;v=v1;g=meta.k8s.io,application/json"),
            ],
        ),
        Case::new(
            "the tables of the core kinds",
            [
                post("{configmaps}", config_map("one", json!({"a": "1", "b": "2"}))),
                get("{configmaps}").accept(TABLE),
                post("{secrets}", json!({"metadata": {"name": "one"}, "stringData": {"a": "1"}})),
                get("{secrets}").accept(TABLE),
                post("{leases}", json!({"metadata": {"name": "one"}, "spec": {"holderIdentity": "me"}})),
                get("{leases}").accept(TABLE),
                get("/api/v1/namespaces/{namespace}").accept(TABLE),
            ],
        ),
    ]
}
