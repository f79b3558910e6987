use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

fn render(source: &str, data: &Value) -> Result<String, TemplateError> {
    Template::parse(source)?.render(data, Missing::Error)
}

/// Templates on which upstream and we differ, what ours gives, and why.
const DEVIATIONS: [(&str, &str); 1] = [
    // Upstream refuses to compare an integer with a float; their values are equal, and JSON knows one kind of number.
    ("{{eq 1 1.0}}", "true"),
];

#[test]
fn recorded_templates_agree_with_upstream() {
    let mut variables: BTreeMap<String, Value> = BTreeMap::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    for line in include_str!("../../../tests/testdata/upstream/templates.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if let Some(name) = case["fixture"].as_str() {
            variables.insert(name.to_owned(), case["variables"].clone());
            continue;
        }
        cases += 1;
        let template = case["input"]["template"].as_str().unwrap();
        // What upstream puts for an empty template.
        let template = if template.is_empty() { "{{.Title}}" } else { template };
        let found = render(template, &variables[case["input"]["fixture"].as_str().unwrap()]);
        let deviation = DEVIATIONS.iter().find(|(deviating, _)| *deviating == template);
        let agrees = match (deviation, &found, case["output"].as_str()) {
            (Some((_, ours)), Ok(found), upstream) => found == ours && upstream != Some(*ours),
            (None, Ok(found), Some(expected)) => found == expected,
            (None, Err(_), None) => true,
            _ => false,
        };
        if !agrees {
            wrong.push(format!("{found:?} for {case}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases > 600, "only {cases} cases");
}

/// Where a rendering fails, upstream hands the agent the raw prompt; the rendering itself is the same.
#[test]
fn recorded_dependency_prompts_agree_with_upstream() {
    let mut lines = include_str!("../../../tests/testdata/upstream/dependency-prompts.jsonl").lines();
    let fixture: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let mut cases = 0;
    for line in lines {
        let case: Value = serde_json::from_str(line).unwrap();
        let depends_on: Vec<&str> = case["input"]["dependsOn"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        // Without dependencies, and with one that is not there, nothing is rendered.
        if depends_on.is_empty() || depends_on.contains(&"nope") {
            continue;
        }
        cases += 1;
        let mut dependencies = serde_json::Map::new();
        for task in fixture["value"].as_array().unwrap() {
            let name = task["metadata"]["name"].as_str().unwrap();
            if depends_on.contains(&name) {
                let status = &task["status"];
                let outputs = if status["outputs"].is_null() { json!([]) } else { status["outputs"].clone() };
                let results = if status["results"].is_null() { json!({}) } else { status["results"].clone() };
                dependencies
                    .insert(name.to_owned(), json!({"Name": name, "Outputs": outputs, "Results": results}));
            }
        }
        let prompt = case["input"]["prompt"].as_str().unwrap();
        let expected = case["output"].as_str().unwrap();
        match render(prompt, &json!({ "Deps": dependencies })) {
            Ok(found) => assert_eq!(found, expected, "{case}"),
            Err(error) => assert_eq!(expected, prompt, "{case}: {error}"),
        }
    }
    assert!(cases > 30, "only {cases} cases");
}

#[test]
fn literals_are_decoded_by_the_rules_of_go() {
    for (source, expected) in [
        (r#"{{"\x41\u00e9\U0001F680\101\a\t"}}"#, "A\u{e9}\u{1f680}A\u{7}\t"),
        (r#"{{"\u00e9 ééééé"}}"#, "é ééééé"),
        (r"{{`\d+ \x1 {{ `}}", r"\d+ \x1 {{ "),
        ("{{`a\r\nb`}}", "a\nb"),
        (r#"{{`a\`}}{{"\\"}}{{`\"\\`}}{{print `\` "\\" "x"}}"#, r#"a\\\"\\\\x"#),
        (r#"{{printf "%q" "a\"b"}}"#, r#""a\"b""#),
        (r"{{'é'}} {{'\n'}} {{'\''}}", "233 10 39"),
        ("{{\"\u{0}\u{1f680}\"}}", "\u{0}\u{1f680}"),
    ] {
        assert_eq!(render(source, &json!({})).as_deref(), Ok(expected), "{source}");
    }
    for source in [
        r#"{{"\x1"}}"#,
        r#"{{"\u12"}}"#,
        r#"{{"\ud800"}}"#,
        r#"{{"\q"}}"#,
        r#"{{"\'"}}"#,
        r#"{{"\777"}}"#,
        r#"{{"\+12"}}"#,
        r#"{{"\xff"}}"#,
        "{{\"a\nb\"}}",
        "{{`a}}",
        "{{'ab'}}",
        "{{''}}",
        r#"{{"\"#,
    ] {
        assert!(Template::parse(source).is_err(), "{source}");
    }
}

#[test]
fn branches_of_with_are_understood() {
    let data = json!({"A": "", "B": "b", "C": "c"});
    for (source, expected) in [
        ("{{with .A}}a{{else with .B}}[{{.}}{{$.C}}]{{else}}none{{end}}!", "[bc]!"),
        ("{{with .A}}a{{else with .A}}b{{else with .C}}{{.}}{{end}}!", "c!"),
        ("{{with .A}}a{{else with .A}}b{{else}}{{.C}}{{end}}!", "c!"),
        ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\".C}}", "<c>"),
        ("x {{- with .A}} a {{- else with .B -}} {{.}} {{- end -}} y", "xby"),
        ("{{with .B}}{{if .}}{{with $.A}}{{else with $.C}}{{.}}{{end}}{{end}}{{end}}", "c"),
    ] {
        assert_eq!(render(source, &data).as_deref(), Ok(expected), "{source}");
    }
    for source in [
        "{{if .A}}{{else with .B}}{{end}}",
        "{{with .A}}{{else if .B}}{{end}}",
        "{{range .A}}{{else if .B}}{{end}}",
        "{{if .A}}{{else}}{{else}}{{end}}",
        "{{if .A}}{{else}}{{else if .B}}{{end}}",
        "{{define \"x\"}}{{else}}{{end}}",
        "{{else}}",
        "{{end}}",
        "{{if .A}}{{end}}{{end}}",
    ] {
        assert!(Template::parse(source).is_err(), "{source}");
    }
}

#[test]
fn errors_stand_on_the_line_where_they_arise() {
    for (source, line, message) in [
        ("a\n{{.Nope}}", 2, "there is no value `Nope`"),
        ("{{`x\ny`}}\n{{.Nope}}", 3, "there is no value `Nope`"),
        ("a\n\n{{.A.B}}", 3, "a field is asked of a value that has none"),
        ("{{if .A}}\n{{if .A}}\n{{end}}", 1, "the block `if` has no `{{end}}`"),
        ("\n{{nope .A}}", 2, "function nope not defined"),
        ("\n{{.A", 2, "the action `{{` is not closed"),
        ("\n\n{{/* x", 3, "the comment is not closed: `*/}}` is missing"),
        ("\n{{.A }", 2, "unexpected character `}` (U+007D) in an action"),
        ("{{with .A}}\n{{else with .A}}{{.Nope}}{{end}}{{.Nope}}", 2, "there is no value `Nope`"),
        ("{{'a'.A}}", 1, "`.A` follows a constant without a blank"),
        ("{{eq . \"1\"}}", 1, "a map cannot be compared"),
        ("{{eq .N \"1\"}}", 1, "a number is compared with a string"),
    ] {
        let error = render(source, &json!({"A": "text", "N": 1})).unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (line, message), "{source}");
    }
    // A message never carries the data.
    let secret = json!({"Token": "x".repeat(10_000), "List": {"a": "y".repeat(10_000)}});
    for source in ["{{.Nope}}", "{{range .Token}}{{end}}", "{{.List.b}}", "{{index .List.a \"z\"}}"] {
        let error = render(source, &secret).unwrap_err();
        assert!(error.message.chars().count() <= 201, "{source}: {}", error.message);
    }
}

#[test]
fn missing_values_are_errors_or_said_to_be_missing() {
    let data = json!({"A": {"b": 1}, "S": {"x": "y"}, "Nil": null});
    let both = |source: &str| {
        let template = Template::parse(source).unwrap();
        (template.render(&data, Missing::Error).ok(), template.render(&data, Missing::Default).ok())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(both("{{.Nope}}"), (None, some("<no value>")));
    assert_eq!(both("{{if .Nope}}y{{else}}n{{end}}"), (None, some("n")));
    assert_eq!(both("{{index . \"Nope\"}}"), (some("<no value>"), some("<no value>")));
    assert_eq!(both("{{with index . \"Nope\"}}y{{else}}n{{end}}"), (some("n"), some("n")));
    assert_eq!(both("{{index .S \"nope\"}}|"), (some("|"), some("|")));
    assert_eq!(both("{{index . \"Nope\" \"deeper\"}}").0, None);
    assert_eq!(both("{{.Nil}}|{{if .Nil}}y{{else}}n{{end}}"), (some("<no value>|n"), some("<no value>|n")));
    assert_eq!(both("{{.A.b}}"), (some("1"), some("1")));
}

#[test]
fn numbers_print_as_people_write_them() {
    let data = json!({"Big": 2_123_456_789_u64, "Huge": u64::MAX, "Minus": -3, "Half": 0.5});
    assert_eq!(
        render("{{.Big}} {{.Huge}} {{.Minus}} {{.Half}}", &data).as_deref(),
        Ok("2123456789 18446744073709551615 -3 0.5")
    );
}

#[test]
fn references_know_what_dot_is() {
    let source = "\
{{.Title}} {{ $.Body }} {{len .A.B}}
{{with .Issue}}{{.Inner}}{{$.Outer}}{{else}}{{.InElse}}{{end}}
{{range $i, $e := .Items}}{{.X}}{{$e.Y}}{{else}}{{.NoItems}}{{end}}
{{if and .P (not .Q)}}{{.R}}{{else if .S}}{{.T}}{{end}}
{{index . \"Branch\"}} {{index .Deps \"a b\" \"Results\" \"x\"}} {{(index .Deps \"c\").Results.y}}
{{index .List 0}} {{index $ \"D\"}} {{printf \"%s\" .E}}
{{with .}}{{.F}}{{end}} {{$root := .}}{{range .G}}{{$root.H}}{{end}}
{{with .I}}{{.No}}{{else with .J}}{{.No}}{{else}}{{.K}}{{end}}
{{define \"t\"}}{{.L}}{{end}}{{template \"t\" .}}{{define \"u\"}}{{.No}}{{$.No}}{{end}}{{template \"u\" .M}}
{{block \"b\" .}}{{.N}}{{end}}{{block \"c\" .O}}{{.No}}{{end}}
{{/* .No */}}{{\".No\"}}{{(.V).W}}{{$x := .Y.Z}}{{$x.No}}{{.End}}";
    let found: Vec<String> = Template::parse(source)
        .unwrap()
        .references()
        .iter()
        .map(|reference| {
            let mark = if reference.by_index { "?" } else { "" };
            format!("{}:{}{mark}", reference.line, reference.path.join("/"))
        })
        .collect();
    let expected = "\
1:Title 1:Body 1:A/B 2:Issue 2:Outer 2:InElse 3:Items 3:NoItems 4:P 4:Q 4:R 4:S 4:T 5:Branch? 5:Deps/a|b/Results/x? \
5:Deps/c/Results/y 6:List 6:D? 6:E 7:F 7:G 7:H 8:I 8:J 8:K 9:L 9:M 10:N 10:O 11:V 11:Y/Z 11:End";
    let found: Vec<String> = found.into_iter().map(|reference| reference.replace(' ', "|")).collect();
    assert_eq!(found.join(" "), expected);
}

#[test]
fn escaped_text_survives_another_rendering() {
    let pieces = [
        "{",
        "{{",
        "{{{",
        "}",
        "}}",
        "a",
        " ",
        "-",
        "\n",
        "\"",
        "`",
        "{{.Title}}",
        "{{end}}",
        "{{/*",
        "é",
        "\\",
    ];
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..3_000 {
        let mut piece =
            || -> String { (0..random.usize(0..6)).map(|_| pieces[random.usize(..pieces.len())]).collect() };
        let (one, other) = (piece(), piece());
        // Side by side, and before the text of somebody who writes a brace.
        let source = format!("<{}{}{{>", escape(&one), escape(&other));
        assert_eq!(
            render(&source, &json!({})).as_deref(),
            Ok(format!("<{one}{other}{{>").as_str()),
            "{source}"
        );
    }
    assert_eq!(escape("plain { text } of $(x)"), "plain { text } of $(x)");
    assert_eq!(escape("{{.Title}}"), "{{\"{{\"}}.Title}}");
}

#[test]
fn hostile_templates_are_refused_in_time() {
    let data = json!({"A": "a", "Long": "x".repeat(100_000)});
    let sources = [
        format!("{}1{}", "{{".to_owned() + &"(".repeat(5_000), ")".repeat(5_000) + "}}"),
        format!("{{{{if .A}}}}{}{{{{end}}}}", "{{else if .A}}".repeat(3_000)),
        format!("{{{{with .A}}}}{}{{{{end}}}}", "{{else with .A}}".repeat(3_000)),
        "{{if .A}}".repeat(3_000) + &"{{end}}".repeat(3_000),
        "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}".to_owned(),
        "{{range 1000000000}}x{{end}}".to_owned(),
        "{{range 90000}}{{range 90000}}{{end}}{{end}}".to_owned(),
        "{{range 90000}}{{$.Long}}{{end}}".to_owned(),
        "{{$s := .Long}}{{range 40}}{{$s = print $s $s}}{{end}}".to_owned(),
        "{{printf \"%1000000000d\" 1}}{{printf \"%0999999999s\" .Long}}{{.Nope}}".to_owned(),
        "x".repeat(65 * 1024),
        format!("{{{{.A{}}}}}", ".B".repeat(20_000)),
        format!("{{{{.A{}}}}}", " | len".repeat(9_000)),
    ];
    for source in sources {
        let start = Instant::now();
        let found = render(&source, &data);
        let beginning: String = source.chars().take(40).collect();
        assert!(found.is_err(), "{beginning}");
        assert!(start.elapsed() < Duration::from_secs(20), "{beginning} took {:?}", start.elapsed());
    }
}

/// Damaged templates: an answer, never a hang.
#[test]
fn any_template_is_answered() {
    let seed = "{{- if eq .A \"x\\n\" -}}{{range $i, $e := .L}}{{$e | printf `%s`}}{{else}}{{index . \"B\"}}{{end}}{{else if .A}}\
                {{with $x := (len .A)}}{{.}}{{'a'}}{{else with .L}}{{1.5e3}}{{end}}{{/* c */}}{{end}}{{define \"t\"}}{{.}}{{end}}";
    let alphabet: Vec<char> = "{}()|.,$:=-\"'`\\/* \nxue01éAL\u{0}%".chars().collect();
    let data = json!({"A": "a", "L": ["b", 2, {"k": null}], "B": 1.5});
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..6_000 {
        let mut characters: Vec<char> = seed.chars().collect();
        for _ in 0..random.usize(1..5) {
            let index = random.usize(..characters.len());
            match random.u8(..3) {
                0 => characters[index] = alphabet[random.usize(..alphabet.len())],
                1 => characters.insert(index, alphabet[random.usize(..alphabet.len())]),
                _ => {
                    characters.remove(index);
                }
            }
        }
        let source: String = characters.into_iter().collect();
        let lines = source.matches('\n').count() + 1;
        if let Err(error) = render(&source, &data) {
            assert!((1..=lines).contains(&error.line), "{source:?}: {error}");
            assert!(!error.message.contains("cannot be parsed"), "the engine panicked on {source:?}");
        }
    }
}
