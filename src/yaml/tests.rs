use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Vec<Value> {
    match parse(text, &Limits::default()) {
        Ok(documents) => documents.into_iter().map(|document| document.value).collect(),
        Err(faults) => panic!("{text:?} has faults: {faults:#?}"),
    }
}

/// Reads a text that has faults and returns them as `line:column code`.
fn faults(text: &str) -> Vec<String> {
    faults_within(text, &Limits::default())
}

fn faults_within(text: &str, limits: &Limits) -> Vec<String> {
    match parse(text, limits) {
        Ok(documents) => panic!("{text:?} was read as {documents:?}"),
        Err(faults) => {
            faults.iter().map(|fault| format!("{} {}", fault.position, fault.code.as_str())).collect()
        }
    }
}

#[test]
fn documents_come_in_order_and_empty_ones_are_left_out() {
    let text =
        "# nothing\n---\na: 1\n---\n---\n# comment\n---\nnull\n---\n  b: [x, {c: d}]\n...\n---\nplain\n";
    let documents = parse(text, &Limits::default()).unwrap();
    let found: Vec<_> =
        documents.iter().map(|document| (&document.value, document.position.to_string())).collect();
    assert_eq!(
        found,
        [
            (&json!({"a": 1}), "3:1".to_owned()),
            (&json!({"b": ["x", {"c": "d"}]}), "10:3".to_owned()),
            (&json!("plain"), "13:1".to_owned()),
        ]
    );
    assert_eq!(read(""), [] as [Value; 0]);
}

#[test]
fn plain_scalars_mean_what_every_reader_takes_them_for() {
    for (text, expected) in [
        ("true", json!(true)),
        ("False", json!(false)),
        ("~", Value::Null),
        ("NULL", Value::Null),
        ("", Value::Null),
        ("12", json!(12)),
        ("-7", json!(-7)),
        ("+7", json!(7)),
        ("0", json!(0)),
        ("18446744073709551615", json!(u64::MAX)),
        ("0x1F", json!(31)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("1.0", json!(1)),
        ("1.5e+3", json!(1500)),
        ("2.5E-3", json!(0.0025)),
        ("1.2.3", json!("1.2.3")),
        ("v1", json!("v1")),
        ("yEs", json!("yEs")),
        ("offside", json!("offside")),
        ("2026-01-05", json!("2026-01-05")),
        ("2026-01-05T09:00:00Z", json!("2026-01-05T09:00:00Z")),
        ("80:80", json!("80:80")),
        ("ubuntu:22.04", json!("ubuntu:22.04")),
        ("0 9 * * 1-5", json!("0 9 * * 1-5")),
        ("1-5", json!("1-5")),
        ("100m", json!("100m")),
        ("1Gi", json!("1Gi")),
        ("-", json!("-")),
        ("0x", json!("0x")),
        ("0b2", json!("0b2")),
        ("_1", json!("_1")),
        ("1_a", json!("1_a")),
        ("'yes'", json!("yes")),
        ("\"010\"", json!("010")),
        ("a#b", json!("a#b")),
    ] {
        if text == "-" {
            assert_eq!(read("key: '-'"), [json!({"key": "-"})]);
        } else {
            assert_eq!(read(&format!("key: {text}\n")), [json!({"key": expected})], "{text}");
        }
    }
}

#[test]
fn scalars_that_readers_take_differently_are_faults_with_the_quoted_form() {
    let words = "y Y yes Yes YES n N no No NO on On ON off Off OFF = <<";
    let numbers = "010 -010 08 0o17 0b101 1_000 0x_1F -0x1F +0x1F 1e3 12e4567 1.5e3 12:30:00 22:22 1:30.5 1_0.5 0_1 1_2:30";
    for text in words.split(' ').chain(numbers.split(' ')) {
        let found = parse(&format!("key: {text}\n"), &Limits::default()).unwrap_err();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(
            (found[0].code, found[0].position.to_string()),
            (FaultCode::AmbiguousScalar, "1:6".into()),
            "{text}"
        );
        assert_eq!(
            found[0].hint.as_deref(),
            Some(format!("write \"{text}\" if the string is meant").as_str())
        );
    }
    for text in [".inf", "-.Inf", ".NaN", "99999999999999999999", "1.0e+999", "0xFFFFFFFFFFFFFFFFF"] {
        assert_eq!(faults(&format!("key: {text}")), ["1:6 number-range"], "{text}");
    }
    // As a key, too: GitHub's `on:` is the classic.
    assert_eq!(faults("on: push\n"), ["1:1 ambiguous-scalar"]);
}

#[test]
fn all_faults_of_a_text_come_at_once() {
    let text =
        "a: 1\na: 2\nb: yes\nc: !!binary aGk=\n1: x\nd: *nobody\n---\nbroken: [1\n---\nok: 1\n---\ne: 010\n";
    assert_eq!(
        faults(text),
        [
            "2:1 duplicate-key",
            "3:4 ambiguous-scalar",
            "4:4 tag",
            "5:1 non-string-key",
            "6:4 unknown-alias",
            "8:9 syntax",
            "12:4 ambiguous-scalar",
        ]
    );
    let duplicate = &parse(text, &Limits::default()).unwrap_err()[0];
    assert_eq!(duplicate.message, "the key `a` stands twice in this mapping, first on line 1");
    let many: Vec<String> = (0..500).map(|index| format!("k{index}: yes\n")).collect();
    assert_eq!(faults(&many.concat()).len(), 100);
}

#[test]
fn keys_are_strings() {
    assert_eq!(
        faults("true: a\nnull: b\n~: c\n1.5: d\n"),
        ["1:1 non-string-key", "2:1 non-string-key", "3:1 non-string-key", "4:1 non-string-key"]
    );
    assert_eq!(faults("? [a, b]\n: c\nd: yes\n"), ["1:3 non-string-key", "3:4 ambiguous-scalar"]);
    assert_eq!(faults("x: &a [1]\n*a : c\n"), ["2:1 non-string-key"]);
    assert_eq!(read("x: &a name\n*a : c\n"), [json!({"x": "name", "name": "c"})]);
    let template = &parse("branch: {{.Branch}}\n", &Limits::default()).unwrap_err()[0];
    assert_eq!((template.code, template.position.column), (FaultCode::NonStringKey, 10));
    assert_eq!(template.hint.as_deref(), Some("quote a value that begins with `{{`"));
}

#[test]
fn merge_keys_are_resolved_and_explicit_keys_win() {
    let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\none:\n  <<: *base\n  b: own\ntwo:\n  c: own\n  <<: [*base, *more]\n";
    assert_eq!(read(text)[0]["one"], json!({"a": 1, "b": "own"}));
    assert_eq!(read(text)[0]["two"], json!({"a": 1, "b": 2, "c": "own"}));
    assert_eq!(read("'<<': x"), [json!({"<<": "x"})]);
    assert_eq!(faults("a:\n  <<: text\n"), ["2:3 merge-key"]);
}

#[test]
fn bombs_are_refused_before_they_cost_anything() {
    let mut laughs = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned()];
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push(format!("a{level}: &a{level} [{items}]\n"));
    }
    let found = faults(&laughs.concat());
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("alias-expansion"), "{found:?}");
    // Few values, but long ones.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 100].join(", "));
    assert!(faults(&long)[0].ends_with("alias-expansion"));
    assert_eq!(faults("a: &a [*a]\n"), ["1:8 unknown-alias"]);
    assert_eq!(faults("a: &a {b: *a}\n"), ["1:11 unknown-alias"]);
    // Depth that is hidden behind aliases counts.
    let mut stairs = vec!["a0: &a0 [x]\n".to_owned()];
    for level in 1..80 {
        stairs.push(format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(faults(&stairs.concat())[0].ends_with("too-deep"));
}

#[test]
fn limits_are_kept_exactly() {
    let limits = Limits { bytes: 40, depth: 3, nodes: 8, documents: 2 };
    assert_eq!(faults_within(&format!("a: {}", "x".repeat(38)), &limits), ["1:1 too-large"]);
    assert!(parse("[[[x]]]", &limits).is_ok());
    assert_eq!(faults_within("[[[[x]]]]", &limits), ["1:4 too-deep"]);
    assert_eq!(faults_within("a:\n b:\n  c:\n   d: 1\n", &limits), ["4:4 too-deep"]);
    assert!(parse("[1,2,3,4,5,6,7]", &limits).is_ok());
    assert_eq!(faults_within("[1,2,3,4,5,6,7,8]", &limits), ["1:16 too-many-nodes"]);
    assert!(parse("a\n---\nb\n", &limits).is_ok());
    assert_eq!(faults_within("a\n---\nb\n---\nc\n", &limits), ["4:1 too-many-documents"]);
    // The rest of a text is still read after a document that is too deep.
    assert_eq!(faults_within("[[[[x]]]]\n---\nyes\n", &limits), ["1:4 too-deep", "3:1 ambiguous-scalar"]);
    // Far beyond what the stack would bear, were it recursion.
    let deep = "[".repeat(500_000);
    assert_eq!(faults(&deep), ["1:65 too-deep"]);
    assert_eq!(faults(&"- ".repeat(500_000)), ["1:129 too-deep"]);
    assert_eq!(faults(&"{a: ".repeat(200_000)), ["1:257 too-deep"]);
}

#[test]
fn encodings_and_line_ends() {
    assert_eq!(read("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n"), [json!({"a": 1, "b": "x\ny\n"})]);
    assert_eq!(faults("\u{feff}a: yes\r\nb: no\r\n"), ["1:4 ambiguous-scalar", "2:4 ambiguous-scalar"]);
    assert_eq!(faults("ä: \"üß\"\nб: да\n😀x: 😀 # 😀\n\"é\": yes\n"), ["4:6 ambiguous-scalar"]);
    assert_eq!(
        faults("a: b\u{0}c\nd: \u{2028}\ne: \u{85}\n\u{7f}"),
        ["1:5 control-character", "2:4 control-character", "3:4 control-character", "4:1 control-character"]
    );
    assert_eq!(faults("a: 1\nb: \u{feff}x\n"), ["2:4 control-character"]);
    assert_eq!(read("a: \"\\u2028\\0\""), [json!({"a": "\u{2028}\0"})]);
    let invalid = parse_bytes(b"a: 1\nb: \xc3\xa9\xff\n", &Limits::default()).unwrap_err();
    assert_eq!((invalid[0].code, invalid[0].position.to_string()), (FaultCode::NotUtf8, "2:5".to_owned()));
    let utf16 = parse_bytes(b"\xff\xfea\0:\0", &Limits::default()).unwrap_err();
    assert_eq!(utf16[0].hint.as_deref(), Some("it looks like UTF-16: save it as UTF-8"));
}

#[test]
fn syntax_faults_name_place_and_remedy() {
    for (text, place, message) in [
        ("a: b: c\n", "1:5", "a `:` stands where no value can begin"),
        ("a:\n\t- b\n", "2:1", "a tab stands in the indentation"),
        ("a: 'it's'\n", "1:8", "something follows the closing quote"),
        ("a: \"x\nb: 1\n", "1:4", "a quote is not closed"),
        ("a: @x\n", "1:4", "a value cannot begin with `@`"),
        ("a: 1\n b: 2\n", "2:3", "a `:` stands where no value can begin"),
        ("%YAML 1.1\n---\na: yes\n", "1:1", "directives such as `%YAML` are not allowed"),
        ("a: \"\\d\"\n", "1:4", "an escape in double quotes is not known"),
        ("a: [1, 2\nb: 3\n", "2:2", "a `:` stands where no value can begin"),
        ("- a\nb: c\n", "2:1", "this is not a further `- ` entry of the list"),
    ] {
        let found = parse(text, &Limits::default()).unwrap_err();
        assert_eq!(
            (found[0].position.to_string().as_str(), found[0].message.as_str()),
            (place, message),
            "{text:?}"
        );
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
    }
}

#[test]
fn pointers_lead_to_places() {
    let text = "\
# head
kind: Task
spec:
  a/b~c: 1
  list:
    - name: x
      value: |
        text
    -   - deep
  empty:
  flow: {k: [v, w]}
---
---
base: &base
  shared: 1
use:
  <<: *base
  alias: *base
";
    let locator = Locator::new(text);
    for (document, pointer, side, expected) in [
        (0, "", Side::Value, "2:1"),
        (0, "/kind", Side::Key, "2:1"),
        (0, "/kind", Side::Value, "2:7"),
        (0, "/spec", Side::Value, "4:3"),
        (0, "/spec/a~1b~0c", Side::Value, "4:10"),
        (0, "/spec/list/0", Side::Value, "6:7"),
        (0, "/spec/list/0/value", Side::Key, "7:7"),
        // The text of a block scalar, not its `|`: line n of the text is n - 1 lines below.
        (0, "/spec/list/0/value", Side::Value, "8:9"),
        (0, "/spec/list/1/0", Side::Value, "9:11"),
        (0, "/spec/empty", Side::Value, "10:3"),
        (0, "/spec/flow/k/1", Side::Value, "11:17"),
        // What is missing stands at the nearest ancestor.
        (0, "/spec/missing", Side::Value, "3:1"),
        (0, "/spec/list/7/name", Side::Value, "5:3"),
        (0, "/missing", Side::Key, "2:1"),
        (1, "/use/shared", Side::Key, "15:3"),
        (1, "/use/alias", Side::Value, "18:10"),
        (1, "/use/alias/shared", Side::Value, "15:11"),
        (7, "/x", Side::Key, "1:1"),
    ] {
        let found = locator.locate(document, pointer, side);
        assert_eq!(found.to_string(), expected, "{document} {pointer} {side:?}");
    }
}

#[test]
fn locators_bear_any_text() {
    for text in
        ["a: &a {<<: *a}", "&a [*a, *a]", "? {a: b}\n: c\n", "a: [", "x: &k key\n*k : v\n", "- <<: [*x]\n"]
    {
        let locator = Locator::new(text);
        for pointer in ["", "/a", "/a/b/c", "/0/0", "/key", "/0/<<"] {
            assert!(locator.locate(0, pointer, Side::Value) >= Position::START, "{text} {pointer}");
        }
    }
}

#[test]
fn written_text_reads_well() {
    let value = json!({
        "apiVersion": "kelos.dev/v1alpha1",
        "labels": {"kelos.dev/task": "a", "on": "yes", "empty": {}},
        "list": ["a", "010", ["x", ["y"]], {"k": "v", "l": []}, "1.5", "", "- a", "a: b", "a #b"],
        "prompt": "Do this:\n\n  - one\n  - two\n",
        "strip": "a\nb",
        "keep": "a\n\n\n",
        "quoted": "it's",
        "tab": "a\tb",
        "number": 1e100,
    });
    let expected = "\
apiVersion: kelos.dev/v1alpha1
keep: |+
  a


labels:
  empty: {}
  kelos.dev/task: a
  'on': 'yes'
list:
- a
- '010'
- - x
  - - 'y'
- k: v
  l: []
- '1.5'
- ''
- '- a'
- 'a: b'
- 'a #b'
number: 1.0e+100
prompt: |
  Do this:

    - one
    - two
quoted: it's
strip: |-
  a
  b
tab: \"a\\tb\"
";
    assert_eq!(write(&value), expected);
}

/// Strings that have led one reader or another astray, and random mixtures of their parts.
fn nasty_strings() -> Vec<String> {
    let words = "y Y yes no NO on off true TRUE null Null ~ = << .inf -.INF .nan 010 0o17 0x1F 0b1 1_000 1e3 1.5e3 12:30:00 \
                 2026-01-05 2001-12-14t21:59:43.10-05:00 1.0 +1 -0 0 - -- --- ... ? : , [ ] { } # & * ! | > % @ ` ' \" \\ !!str \
                 {{.Title}} ${x} $(x) key: a:b a: #x x# &a *a - - ?x :x a,b [a] {a} |- >+ %TAG nul nullable yesterday e1 .e1 \
                 _ / ./x ../x a\\nb NaN inf Infinity 0777 1,000 1__0 0.0 .5 5. 1e+10 190:20:30 <<: ==";
    let pieces = [
        "a", "b c", "\n", "\n\n", "\t", " ", "  ", ":", ": ", " #", "#", "-", "- ", "'", "\"", "\\", "\r",
        "\r\n", "\u{0}", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\u{feff}", "é", "世界", "🚀", "---",
        "...", "|", ">", "yes", "1", "0", "_", ".", "e", "{", "}", "[", "]", ",", "&", "*", "!", "%", "@",
        "`", "?", "~", "<", "=", "\u{1b}", "\u{fffd}", "\u{e000}", "\u{3000}",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let mut strings: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    strings.push(String::new());
    strings.extend(pieces.iter().map(|piece| (*piece).to_owned()));
    for _ in 0..4_000 {
        let count = random.usize(1..8);
        strings.push((0..count).map(|_| pieces[random.usize(..pieces.len())]).collect());
    }
    strings
}

#[test]
fn what_is_written_is_read_back_by_us_and_by_libyaml() {
    for text in nasty_strings() {
        for value in [
            json!(text),
            json!({ text.clone(): text.clone(), "z": 1 }),
            json!([text, [text], { "k": text, "l": [text, { "m": text }] }]),
        ] {
            let written = write(&value);
            assert_eq!(read(&written), std::slice::from_ref(&value), "{written:?}");
            let theirs: Value =
                serde_yaml::from_str(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
            assert_eq!(theirs, value, "{written:?}");
        }
    }
}

#[test]
fn plain_scalars_that_are_written_are_strings_to_every_reader() {
    for text in nasty_strings() {
        let written = write(&json!(text));
        let plain = written.trim_end_matches('\n');
        if plain.starts_with(['\'', '"', '|']) {
            continue;
        }
        // Whatever a reader of YAML 1.1 resolves begins with one of these or is one of the words.
        assert!(
            !plain.starts_with(|first: char| first.is_ascii_digit() || "+-.~=<".contains(first)),
            "{plain}"
        );
        let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
        assert!(!words.contains(&plain.to_ascii_lowercase().as_str()), "{plain}");
    }
}

#[test]
fn long_keys_and_extreme_numbers_survive() {
    let key = "k".repeat(3_000);
    let value = json!({ key: {"a": [1]}, "numbers": [u64::MAX, i64::MIN, 1e-7, 1.5e300, -0.25, 1e21] });
    let written = write(&value);
    assert_eq!(read(&written), std::slice::from_ref(&value));
    assert_eq!(serde_yaml::from_str::<Value>(&written).unwrap(), value);
}

/// Random bytes and damaged manifests: an answer, never a panic.
#[test]
fn any_text_is_answered() {
    let seed = "kind: &k Task\nspec:\n  - {a: *k, b: [\"x\\n\", 'y']}\n  - |\n    text\n  - >-\n    folded\n  <<: *k\n---\n- ? a\n  : b\n";
    let mut random = fastrand::Rng::with_seed(11);
    let alphabet: Vec<char> = "{}[]:,-?&*!|>'\"%@`#~<= \n\t\r\\aé0._".chars().collect();
    for _ in 0..4_000 {
        let mut characters: Vec<char> = seed.chars().collect();
        for _ in 0..random.usize(1..6) {
            let index = random.usize(..characters.len());
            match random.u8(..3) {
                0 => characters[index] = alphabet[random.usize(..alphabet.len())],
                1 => characters.insert(index, alphabet[random.usize(..alphabet.len())]),
                _ => {
                    characters.remove(index);
                }
            }
        }
        let text: String = characters.into_iter().collect();
        if let Err(faults) = parse(&text, &Limits::default()) {
            let lines = text.split(['\n', '\r']).count() + 1;
            assert!(faults.iter().all(|fault| fault.position.line <= lines), "{text:?} {faults:?}");
        }
        let locator = Locator::new(&text);
        assert!(locator.locate(0, "/spec/0/a", Side::Value) >= Position::START);
    }
}
