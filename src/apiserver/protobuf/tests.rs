use serde_json::json;

use super::*;

/// Removes what Kubernetes' JSON leaves out and its protobuf does not: empty texts, zeros, empty messages.
fn without_empties(value: Value, kept: &[&str]) -> Value {
    match value {
        Value::Object(map) => {
            let filled = map.into_iter().filter_map(|(name, value)| {
                let value = without_empties(value, kept);
                let is_empty = match &value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    Value::Number(number) => number.as_i64() == Some(0),
                    Value::Object(map) => map.is_empty() && !name.contains(':') && name != ".",
                    Value::Array(_) | Value::Bool(_) => false,
                };
                (!is_empty || kept.contains(&name.as_str())).then_some((name, value))
            });
            Value::Object(filled.collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| without_empties(item, kept)).collect())
        }
        other => other,
    }
}

/// Objects as a real kube-apiserver 1.37.1 served them in both encodings.
#[test]
fn recorded_objects_read_like_their_json() {
    let lines: Vec<Value> =
        include_str!("recorded.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    for line in lines {
        let bytes = hex::decode(line["protobuf"].as_str().unwrap()).unwrap();
        let decoded = decode(&bytes).unwrap();
        // A pointer to an empty text is not an absent one.
        let kept = ["holderIdentity", "empty"];
        assert_eq!(without_empties(decoded, &kept), without_empties(line["json"].clone(), &kept));
    }
}

/// Encodes one field that holds bytes.
fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = varint_of(usize::from(number) << 3 | 2);
    encoded.extend(varint_of(content.len()));
    encoded.extend(content);
    encoded
}

fn varint_of(mut number: usize) -> Vec<u8> {
    let mut encoded = Vec::new();
    loop {
        let low = u8::try_from(number % 128).unwrap();
        number /= 128;
        if number == 0 {
            encoded.push(low);
            return encoded;
        }
        encoded.push(low | 0x80);
    }
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes_field(1, api_version.as_bytes()), bytes_field(2, kind.as_bytes())].concat();
    [
        PREFIX.to_vec(),
        bytes_field(1, &type_meta),
        bytes_field(2, raw),
        bytes_field(3, b""),
        bytes_field(4, b""),
    ]
    .concat()
}

#[test]
fn delete_options_are_read() {
    let raw = [
        vec![1 << 3, 30],
        bytes_field(2, &bytes_field(1, b"some-uid")),
        vec![3 << 3, 0],
        bytes_field(4, b"Foreground"),
        bytes_field(5, b"All"),
    ]
    .concat();
    assert_eq!(
        decode(&envelope("coordination.k8s.io/v1", "DeleteOptions", &raw)).unwrap(),
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 30,
            "preconditions": {"uid": "some-uid"},
            "orphanDependents": false,
            "propagationPolicy": "Foreground",
            "dryRun": ["All"],
        })
    );
}

#[test]
fn repeated_messages_merge_and_unknown_fields_are_passed_over() {
    let raw = [
        bytes_field(1, &bytes_field(1, b"one")),
        vec![15 << 3, 7],
        bytes_field(14, b"unknown"),
        [vec![13 << 3 | 1], vec![0; 8]].concat(),
        [vec![12 << 3 | 5], vec![0; 4]].concat(),
        bytes_field(1, &[bytes_field(1, b"two"), bytes_field(3, b"team")].concat()),
        bytes_field(2, &[bytes_field(1, b"key"), bytes_field(2, b"value")].concat()),
        bytes_field(2, &bytes_field(1, b"empty")),
    ]
    .concat();
    assert_eq!(
        decode(&envelope("v1", "ConfigMap", &raw)).unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "two", "namespace": "team"},
            "data": {"key": "value", "empty": ""},
        })
    );
}

#[test]
fn negative_numbers_and_early_times_are_read() {
    let minus_one = [vec![0xFF; 9], vec![1]].concat();
    let time = [vec![1 << 3], minus_one.clone()].concat();
    let meta = [[vec![7 << 3], minus_one].concat(), bytes_field(8, &time)].concat();
    let object = decode(&envelope("v1", "ConfigMap", &bytes_field(1, &meta))).unwrap();
    assert_eq!(object["metadata"]["generation"], json!(-1));
    assert_eq!(object["metadata"]["creationTimestamp"], json!("1969-12-31T23:59:59Z"));
}

#[test]
fn broken_envelopes_are_refused_in_the_words_of_the_real_server() {
    let check = |bytes: &[u8], expected: &str| {
        assert_eq!(decode(bytes), Err(ProtobufError::Envelope(expected.to_owned())), "{bytes:?}");
    };
    check(b"", "empty data");
    check(b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    check(b"k8s\0", "empty body");
    check(b"k8s\0\xff\xff", "unexpected EOF");
}

#[test]
fn broken_objects_are_refused_with_their_kind() {
    let check = |kind: &str, raw: &[u8], expected: &str| match decode(&envelope("v1", kind, raw)) {
        Err(ProtobufError::Object { api_version, kind: stated, reason }) => {
            assert_eq!((api_version.as_str(), stated.as_str(), reason.as_str()), ("v1", kind, expected));
        }
        other => panic!("{other:?}"),
    };
    check("ConfigMap", b"\xff\xff", "unexpected EOF");
    check(
        "No",
        b"",
        "no kind \"No\" is registered for version \"v1\" in scheme \"pkg/runtime/scheme.go:111\"",
    );
    check("ConfigMap", &[1 << 3 | 3], "proto: illegal wireType");
    check("ConfigMap", &[1 << 3, 1], "proto: illegal wireType");
    check("ConfigMap", &[0xFF; 11], "proto: integer overflow");
    check("Secret", &bytes_field(3, b"\xff"), "proto: invalid UTF-8");
    let far = bytes_field(1, &bytes_field(8, &[&[1 << 3][..], &[0xFF; 8], &[0x7F]].concat()));
    check("ConfigMap", &far, "proto: time out of range");
}

#[test]
fn no_input_makes_it_panic() {
    let random = &mut fastrand::Rng::with_seed(7);
    let recorded: Vec<Vec<u8>> = include_str!("recorded.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| hex::decode(line["protobuf"].as_str().unwrap()).unwrap())
        .collect();
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = recorded[random.usize(..recorded.len())].clone();
        for _ in 0..random.usize(1..4) {
            let position = random.usize(..bytes.len());
            bytes[position] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        refused += usize::from(decode(&bytes).is_err());
    }
    assert!(refused > 1_000, "most broken input is noticed");
}

#[test]
fn what_nests_deeper_than_json_may_is_refused() {
    let object = |depth: usize| {
        let fields = format!("{}1{}", "{\"f:a\":".repeat(depth), "}".repeat(depth));
        let entry = bytes_field(7, &bytes_field(1, fields.as_bytes()));
        envelope("v1", "ConfigMap", &bytes_field(1, &bytes_field(17, &entry)))
    };
    let deepest = crate::apiserver::schema::DEPTH_LIMIT - 4;
    assert!(decode(&object(deepest)).is_ok());
    for depth in [deepest + 1, 120, 126, 127, 500] {
        let refusal = decode(&object(depth)).unwrap_err();
        assert!(refusal.to_string().contains("nests too deeply"), "{depth}: {refusal}");
    }
}
