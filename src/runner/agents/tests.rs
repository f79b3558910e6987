use base64::Engine as _;

use super::*;
use crate::api::run::Usage;
use crate::runner::agents::report::values::usage_in_results;
use crate::runner::agents::report::{Completion, Report};

const RECORDED: &str = include_str!("../../../tests/testdata/upstream/usage-and-capture.jsonl");
const RECORDED_RESULTS: &str = include_str!("../../../tests/testdata/upstream/outputs.jsonl");

/// Cases in which we answer otherwise, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("usage/claude-code#16", "an absent count is absent, not a text"),
    ("usage/claude-code#17", "an absent cost is absent, not a text"),
    ("usage/claude-code#18", "a count of tokens is a whole number"),
    ("usage/claude-code#34", "a count of tokens is a number of at least zero"),
    ("usage/codex#13", "a sum does not wrap"),
    ("usage/codex#14", "counts above 2^63 are counts"),
    ("usage/opencode#9", "the program says what it cost"),
    ("usage/gemini#2", "the program itself writes this spelling"),
];

fn read(kind: &str, text: &str) -> Report {
    let mut reader = by_kind(kind).reader();
    text.lines().for_each(|line| reader.line(line));
    reader.report()
}

fn as_recorded(report: &Report) -> Value {
    let mut found = Map::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            found.insert(key.to_owned(), value.into());
        }
    };
    put("cost-usd", report.usage.cost_usd.clone());
    put("input-tokens", report.usage.input_tokens.map(|count| count.to_string()));
    put("output-tokens", report.usage.output_tokens.map(|count| count.to_string()));
    put(
        "response",
        report.answer.as_ref().map(|text| base64::engine::general_purpose::STANDARD.encode(text)),
    );
    if found.is_empty() { Value::Null } else { Value::Object(found) }
}

#[test]
fn usage_is_read_as_upstream_reads_it() {
    let mut checked = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["op"] != "stream_usage" {
            continue;
        }
        let name = case["case"].as_str().unwrap();
        let report =
            read(case["input"]["agentType"].as_str().unwrap(), case["input"]["stdin"].as_str().unwrap());
        let is_different = DIFFERENT.iter().any(|(different, _)| *different == name);
        let is_same = as_recorded(&report) == case["output"]["usage"];
        assert_eq!(is_same, !is_different, "{name}: {}", as_recorded(&report));
        if case["output"]["failure"].is_string() {
            assert!(matches!(report.completion, Completion::Incomplete(_)), "{name}");
        } else {
            assert!(!matches!(report.completion, Completion::Incomplete(_)), "{name}");
        }
        checked += 1;
    }
    assert_eq!(checked, 52);
}

#[test]
fn a_report_that_is_cut_off_is_absent() {
    for kind in ["claude-code", "codex", "gemini", "opencode", "cursor"] {
        assert_eq!(
            read(kind, "{\"type\":\"system\"}\n{\"type\":\"resu").completion,
            Completion::Absent,
            "{kind}"
        );
    }
    let cut = "{\"type\":\"turn.completed\",\"usage\":{}}\n{\"type\":\"turn.started\"}";
    assert_eq!(read("codex", cut).completion, Completion::Absent);
}

#[test]
fn a_cost_counts_however_an_agent_writes_it() {
    let of_claude = |cost: &str| {
        let line = format!(r#"{{"type":"result","subtype":"success","total_cost_usd":{cost}}}"#);
        read("claude-code", &line).usage.cost_usd
    };
    for (written, cost) in [
        ("0.25", Some("0.25")),
        ("1e-5", Some("0.00001")),
        ("1.5E-4", Some("0.00015")),
        ("\"2e-3\"", Some("0.002")),
        ("0.30000000000000004", Some("0.30000000000000004")),
        ("0", Some("0")),
        ("1e300", None),
        ("-1e-5", None),
        ("\"e\"", None),
    ] {
        assert_eq!(of_claude(written).as_deref(), cost, "{written}");
    }
    let of_opencode = |costs: &[&str]| {
        let step =
            |cost: &&str| format!(r#"{{"type":"step_finish","part":{{"cost":{cost},"reason":"stop"}}}}"#);
        read("opencode", &costs.iter().map(step).collect::<Vec<_>>().join("\n")).usage.cost_usd
    };
    assert_eq!(of_opencode(&["1e-5", "2E-5", "0.1"]).as_deref(), Some("0.10003"));
    assert_eq!(of_opencode(&["1e-12"]).as_deref(), Some("0"));
    assert_eq!(of_opencode(&["1e300"]), None);
}

#[test]
fn words_of_an_agent_are_made_harmless() {
    let line = r#"{"type":"result","subtype":"<script>\nforged: 1"}"#;
    assert_eq!(
        read("claude-code", line).completion,
        Completion::Incomplete("the agent reports no success (subtype scriptforged1)".to_owned())
    );
}

#[test]
fn usage_in_results_is_read_as_upstream_reads_it() {
    for line in RECORDED_RESULTS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["op"] != "task_usage_from_results" {
            continue;
        }
        let usage = usage_in_results(&serde_json::from_value(case["input"].clone()).unwrap());
        let mut expected: Usage = serde_json::from_value(case["output"].clone()).unwrap_or_default();
        if expected.cost_usd.as_deref() == Some("1500m") {
            expected.cost_usd = Some("1.50".to_owned()); // The API server writes quantities its own way, later.
        }
        assert_eq!(usage, expected, "{}", case["case"]);
    }
}

fn call(prompt: &str) -> Call<'_> {
    Call {
        prompt,
        model: Some("m"),
        effort: Some("high"),
        prompt_file: Path::new("/run/prompt"),
        plugins: &[],
        home: Path::new("/home/agent"),
        has_servers: true,
    }
}

#[test]
fn command_lines_are_those_of_the_programs() {
    let line = |kind: &str| by_kind(kind).invocation(&call("fix -x")).arguments.join(" ");
    assert_eq!(line("shell"), "-e /run/prompt");
    assert_eq!(
        line("claude-code"),
        "--dangerously-skip-permissions --output-format stream-json --verbose -p --model m --effort high --mcp-config /home/agent/.kelos/mcp.json -- fix -x"
    );
    assert_eq!(
        line("codex"),
        "exec --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check --json --model m -c model_reasoning_effort=\"high\" -- fix -x"
    );
    assert_eq!(line("gemini"), "--yolo --output-format stream-json --model m --prompt=fix -x");
    assert_eq!(line("opencode"), "run --format json --auto --model m --variant high");
    assert_eq!(
        line("cursor"),
        "-p --force --trust --sandbox disabled --output-format stream-json --model m -- fix -x"
    );
    assert_eq!(line("our-own"), "fix -x");
}

#[test]
fn a_prompt_that_is_no_argument_goes_through_standard_input() {
    for prompt in ["x".repeat(200 * 1024), "a\0b".to_owned()] {
        through_standard_input(&prompt);
    }
    let invocation = by_kind("opencode").invocation(&call("a \"b\""));
    assert_eq!(invocation.input.as_deref(), Some("a \"b\""), "it alters arguments");
}

fn through_standard_input(prompt: &str) {
    for kind in ["claude-code", "codex", "gemini", "opencode", "cursor", "our-own"] {
        let invocation = by_kind(kind).invocation(&call(prompt));
        assert_eq!(invocation.input.as_ref().map(String::len), Some(prompt.len()), "{kind}");
        assert!(invocation.arguments.iter().all(|argument| argument.len() < 1000), "{kind}");
    }
}

fn wish(variables: &BTreeMap<String, String>) -> Wish<'_> {
    Wish {
        home: Path::new("/home/agent"),
        variables,
        instructions: None,
        servers: &[],
        model: None,
        effort: None,
    }
}

fn home_of(kind: &str, wish: &Wish<'_>) -> BTreeMap<&'static str, String> {
    by_kind(kind).home(wish).into_iter().map(|file| (file.path, file.content)).collect()
}

#[test]
fn credentials_reach_each_program_where_it_looks() {
    let with = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let login = with("CODEX_AUTH_JSON", "{\"tokens\":\n {}}\n");
    assert_eq!(home_of("codex", &wish(&login))[".codex/auth.json"], "{\"tokens\": {}}");

    let token = with("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-x");
    assert!(home_of("claude-code", &wish(&token)).is_empty());
    assert!(by_kind("claude-code").variables(&wish(&token)).is_empty());
    let file = with("CLAUDE_CODE_OAUTH_TOKEN", "{\"claudeAiOauth\":{}}");
    assert_eq!(home_of("claude-code", &wish(&file))[".claude/.credentials.json"], "{\"claudeAiOauth\":{}}");
    assert_eq!(by_kind("claude-code").variables(&wish(&file))["CLAUDE_CODE_OAUTH_TOKEN"], None);

    let key = with("OPENCODE_API_KEY", "k");
    for (model, variable) in [
        (None, Some("ANTHROPIC_API_KEY")),
        (Some("anthropic/claude-sonnet-4-5"), Some("ANTHROPIC_API_KEY")),
        (Some("google/gemini-2.5-pro"), Some("GEMINI_API_KEY")),
        (Some("openai/gpt-5"), Some("OPENAI_API_KEY")),
        (Some("deep-seek/x/y"), Some("DEEP_SEEK_API_KEY")),
        (Some("opencode/big"), None),
    ] {
        let found = by_kind("opencode").variables(&Wish { model, ..wish(&key) });
        let expected = variable.map(|name| (name.to_owned(), Some("k".to_owned())));
        assert_eq!(found, expected.into_iter().collect(), "{model:?}");
    }
    let both = BTreeMap::from([
        ("OPENCODE_API_KEY".to_owned(), "k".to_owned()),
        ("ANTHROPIC_API_KEY".to_owned(), "own".to_owned()),
    ]);
    assert!(by_kind("opencode").variables(&wish(&both)).is_empty(), "what the user says wins");
}

#[test]
fn settings_follow_from_variables_model_and_effort() {
    let variables = BTreeMap::from([
        ("OPENAI_BASE_URL".to_owned(), "http://h/v1".to_owned()),
        ("GEMINI_API_KEY".to_owned(), "k".to_owned()),
    ]);
    let settings = home_of("codex", &wish(&variables));
    assert_eq!(settings[".codex/config.toml"], "openai_base_url = \"http://h/v1\"\n");
    for (model, effort, expected) in [
        (Some("gemini-2.5-pro"), Some("high"), json!({"thinkingBudget": 24_576})),
        (Some("gemini-3-pro"), Some("low"), json!({"thinkingLevel": "LOW"})),
        (Some("gemini-3-pro"), Some("extreme"), Value::Null),
        (Some("gemini-2.0-flash"), Some("high"), Value::Null),
        (None, Some("high"), Value::Null),
        (Some("gemini-2.5-pro"), None, Value::Null),
    ] {
        let wish = Wish { model, effort, instructions: Some("Be kind."), ..wish(&variables) };
        let home = home_of("gemini", &wish);
        let settings: Value = serde_json::from_str(&home[".gemini/settings.json"]).unwrap();
        let config = &settings["modelConfigs"]["overrides"][0]["modelConfig"]["generateContentConfig"];
        assert_eq!(config["thinkingConfig"], expected, "{model:?} {effort:?}");
        assert_eq!(settings["security"]["auth"]["selectedType"], "gemini-api-key");
        // Where there is no setting for it, the instructions say it.
        let is_said = home[".gemini/GEMINI.md"].contains("reasoning effort");
        assert_eq!(is_said, effort.is_some() && expected.is_null(), "{model:?} {effort:?}");
    }
    let cursor = home_of("cursor", &Wish { effort: Some("high"), ..wish(&variables) });
    assert_eq!(cursor[".cursor/AGENTS.md"], "Work with high reasoning effort.");
}

#[test]
fn servers_are_told_in_the_form_of_each_agent() {
    let server = McpServer {
        name: "git hub".to_owned(),
        kind: "stdio".to_owned(),
        command: Some("npx".to_owned()),
        args: vec!["a\"b".to_owned()],
        url: None,
        headers: BTreeMap::new(),
        env: BTreeMap::from([("KEY".to_owned(), "v\n".to_owned())]),
    };
    let variables = BTreeMap::new();
    let wish = Wish { servers: std::slice::from_ref(&server), ..wish(&variables) };
    let file = |kind: &str| {
        let files = by_kind(kind).home(&wish).into_iter();
        files.map(|file| file.content).find(|content| content.contains("npx")).unwrap()
    };
    for kind in ["claude-code", "gemini", "cursor"] {
        let told: Value = serde_json::from_str(&file(kind)).unwrap();
        assert_eq!(told["mcpServers"]["git hub"]["command"], "npx", "{kind}");
        assert_eq!(told["mcpServers"]["git hub"]["env"]["KEY"], "v\n", "{kind}");
    }
    let told: Value = serde_json::from_str(&file("opencode")).unwrap();
    assert_eq!(told["mcp"]["git hub"]["command"], json!(["npx", "a\"b"]));
    assert_eq!(
        file("codex"),
        "[mcp_servers.\"git hub\"]\ncommand = \"npx\"\nargs = [\"a\\\"b\"]\n[mcp_servers.\"git hub\".env]\n\"KEY\" = \"v\\n\"\n"
    );
    assert!(by_kind("shell").home(&wish).is_empty());
    let told = by_kind("our-own").variables(&wish)["KELOS_MCP_SERVERS"].clone().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["mcpServers"]["git hub"]["command"], "npx");
}

#[test]
fn a_program_that_is_not_here_is_missing_before_anything_is_spent() {
    let agent = |kind: &str, program: Option<&str>| Agent {
        kind: kind.to_owned(),
        program: program.map(PathBuf::from),
        image: None,
        prompt: String::new(),
        model: None,
        effort: None,
    };
    assert_eq!(lookup(&agent("shell", None), "", false), Ok(PathBuf::from("/bin/sh")));
    assert!(matches!(lookup(&agent("shell", None), "/nonexistent", true), Err(Missing::Git { .. })));
    assert!(matches!(lookup(&agent("codex", None), "/nonexistent", false), Err(Missing::Program { .. })));
    assert_eq!(lookup(&agent("mine", None), "/bin", false), Err(Missing::Agent { agent: "mine".to_owned() }));
    assert_eq!(lookup(&agent("mine", Some("sh")), "/bin", false), Ok(PathBuf::from("/bin/sh")));
}

/// What Claude Code 2.1.197 printed when it talked to a scripted endpoint: a file of the output of the real program.
const CLAUDE_CODE: &str = include_str!("../../../tests/testdata/agents/claude-code-2.1.197.jsonl");

#[test]
fn a_transcript_of_the_real_claude_code_is_read_and_every_cut_of_it_is_incomplete() {
    let report = read("claude-code", CLAUDE_CODE);
    assert_eq!(report.completion, Completion::Complete);
    assert_eq!((report.usage.input_tokens, report.usage.output_tokens), (Some(12), Some(5)));
    assert!(report.usage.cost_usd.is_some());
    assert_eq!(report.answer.as_deref(), Some("all done"));
    for end in (0..CLAUDE_CODE.trim_end().len()).step_by(7) {
        let Some(cut) = CLAUDE_CODE.get(..end) else { continue };
        assert_eq!(read("claude-code", cut).completion, Completion::Absent, "cut at {end}");
    }
}

/// Returns what is read from what a real program printed in a scenario; the folder of a program carries its version.
fn recorded(kind: &str, folder: &str, scenario: &str) -> (Report, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/testdata/agents")
        .join(folder)
        .join(format!("{scenario}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    (read(kind, &text), text)
}

#[test]
fn transcripts_of_the_real_programs_are_read_and_what_was_not_finished_is_not_complete() {
    for (kind, folder, has_cost) in [
        ("claude-code", "claude-code-2.1.332", true),
        ("codex", "codex-0.171.0", false),
        ("gemini", "gemini-0.61.0", false),
        ("opencode", "opencode-1.18.33", true),
    ] {
        let (report, text) = recorded(kind, folder, "works");
        assert_eq!(report.completion, Completion::Complete, "{kind}");
        assert_eq!((report.usage.input_tokens, report.usage.output_tokens), (Some(20), Some(10)), "{kind}");
        assert_eq!(report.usage.cost_usd.is_some(), has_cost, "{kind}");
        assert_eq!(report.answer.as_deref(), Some("all done"), "{kind}");
        // Cut off anywhere before the last line, it is not complete.
        let last_line = text.trim_end().rfind('\n').unwrap();
        for end in (0..last_line).chain(last_line + 1..text.trim_end().len()).step_by(97) {
            let Some(cut) = text.get(..end) else { continue };
            assert_ne!(read(kind, cut).completion, Completion::Complete, "{kind} cut at {end}");
        }
    }
    for (kind, folder, scenario, words) in [
        ("claude-code", "claude-code-2.1.332", "limit", "max_output_tokens"),
        ("claude-code", "claude-code-2.1.332", "refuse", "refusal"),
        ("claude-code", "claude-code-2.1.332", "cut", "the answer was cut off"),
        ("claude-code", "claude-code-2.1.332", "ends-early", "the answer was cut off"),
        ("claude-code", "claude-code-2.1.332", "fail-401", "HTTP status 401"),
        ("claude-code", "claude-code-2.1.332", "fail-429", "HTTP status 429"),
        ("claude-code", "claude-code-2.1.332", "fail-529", "HTTP status 529"),
        ("codex", "codex-0.171.0", "limit", "max_output_tokens"),
        ("codex", "codex-0.171.0", "refuse", "content_filter"),
        ("codex", "codex-0.171.0", "cut", "the answer was cut off"),
        ("codex", "codex-0.171.0", "ends-early", "the answer was cut off"),
        ("codex", "codex-0.171.0", "fail-401", "HTTP status 401: the credential was refused"),
        ("codex", "codex-0.171.0", "fail-429", "HTTP status 429: too many requests"),
        ("codex", "codex-0.171.0", "fail-529", "HTTP status 529: the provider is overloaded"),
        ("gemini", "gemini-0.61.0", "cut", "the answer was cut off"),
        ("gemini", "gemini-0.61.0", "cut-first", "the answer was cut off"),
        ("gemini", "gemini-0.61.0", "ends-early-first", "the answer was cut off"),
        ("gemini", "gemini-0.61.0", "loop", "the agent went in circles"),
        ("gemini", "gemini-0.61.0", "fail-401", "HTTP status 401: the credential was refused"),
        ("gemini", "gemini-0.61.0", "fail-529", "HTTP status 529: the provider is overloaded"),
        ("opencode", "opencode-1.18.33", "limit", "finish reason length"),
        ("opencode", "opencode-1.18.33", "refuse", "ContentFilterError"),
        ("opencode", "opencode-1.18.33", "cut", "the answer was cut off"),
        ("opencode", "opencode-1.18.33", "cut-first", "the answer was cut off"),
        ("opencode", "opencode-1.18.33", "ends-early", "answers in a row were cut off"),
        ("opencode", "opencode-1.18.33", "ends-early-first", "answers in a row were cut off"),
        ("opencode", "opencode-1.18.33", "fail-401", "HTTP status 401: the credential was refused"),
        ("opencode", "opencode-1.18.33", "fail-429", "HTTP status 429: too many requests"),
        ("opencode", "opencode-1.18.33", "fail-529", "HTTP status 529: the provider is overloaded"),
    ] {
        let (report, _) = recorded(kind, folder, scenario);
        let Completion::Incomplete(reason) = report.completion else {
            panic!("{kind} {scenario}: {:?}", report.completion)
        };
        assert!(reason.contains(words), "{kind} {scenario}: {reason}");
    }
}

/// Records of the telemetry of Gemini CLI 0.61.0, without the parts that are not looked at.
const TELEMETRY: &str = include_str!("../../../tests/testdata/agents/gemini-0.61.0-telemetry.txt");

#[test]
fn why_the_last_answer_of_gemini_ended_stands_in_its_telemetry() {
    let (_, printed) = recorded("gemini", "gemini-0.61.0", "limit");
    assert_eq!(read("gemini", &printed).completion, Completion::Complete, "what it prints does not say it");
    let with = |telemetry: &str| {
        let mut reader = by_kind("gemini").reader();
        telemetry.lines().for_each(|line| reader.aside(line));
        printed.lines().for_each(|line| reader.line(line));
        reader.report().completion
    };
    let stopped =
        |reason: &str| Completion::Incomplete(format!("the agent stopped early (finish reason {reason})"));
    assert_eq!(with(TELEMETRY), stopped("length"));
    assert_eq!(with(&TELEMETRY.replace("length", "content_filter")), stopped("content_filter"));
    assert_eq!(with(&TELEMETRY.replace("length", "stop")), Completion::Complete);
    // A sub-agent, or the program itself, asked the model last.
    assert_eq!(with(&TELEMETRY.replace("main", "subagent")), Completion::Complete);
}

/// Records of the telemetry of Gemini CLI 0.61.0 about a request that was refused with the status 429.
const TELEMETRY_429: &str = include_str!("../../../tests/testdata/agents/gemini-0.61.0-telemetry-429.txt");

#[test]
fn why_a_provider_refused_gemini_stands_in_its_telemetry_when_its_words_do_not_say_it() {
    let (report, printed) = recorded("gemini", "gemini-0.61.0", "fail-429");
    let failed = |details: &str| {
        Completion::Incomplete(format!("the agent reports no success (status error{details})"))
    };
    assert_eq!(report.completion, failed(""), "what it prints does not say it");
    let with = |telemetry: &[&str]| {
        let mut reader = by_kind("gemini").reader();
        telemetry.iter().flat_map(|text| text.lines()).for_each(|line| reader.aside(line));
        printed.lines().for_each(|line| reader.line(line));
        reader.report().completion
    };
    let limited = failed(", HTTP status 429: too many requests, or a limit of use is reached");
    assert_eq!(with(&[TELEMETRY_429]), limited);
    assert_eq!(with(&[TELEMETRY, TELEMETRY_429]), limited);
    // What was refused first was answered later, and what another asked says nothing.
    assert_eq!(with(&[TELEMETRY_429, TELEMETRY]), failed(""));
    assert_eq!(with(&[&TELEMETRY_429.replace("main", "subagent")]), failed(""));
}

#[test]
fn an_error_of_gemini_counts_until_the_work_goes_on() {
    let error = r#"{"type":"error","severity":"warning","message":"Loop detected, stopping execution"}"#;
    let unknown = r#"{"type":"error","severity":"error","message":"<b>what</b>"}"#;
    let work = r#"{"type":"tool_use","tool_name":"run_shell_command"}"#;
    let message = r#"{"type":"message","role":"assistant","content":"all done","delta":true}"#;
    let end = r#"{"type":"result","status":"success"}"#;
    let completion = |lines: &[&str]| read("gemini", &lines.join("\n")).completion;
    let stopped = |details: &str| Completion::Incomplete(format!("the agent stopped early{details}"));
    assert_eq!(completion(&[error, end]), stopped(" (the agent went in circles)"));
    assert_eq!(completion(&[unknown, end]), stopped(""));
    assert_eq!(completion(&[error, message, end]), Completion::Complete);
    assert_eq!(completion(&[error, work, message, end]), Completion::Complete);
    assert_eq!(completion(&[error]), Completion::Absent);
}

#[test]
fn opencode_is_lost_when_its_model_never_ends_an_answer() {
    let unended = r#"{"type":"step_finish","part":{"reason":"unknown"}}"#;
    let work = r#"{"type":"tool_use","part":{"tool":"bash"}}"#;
    let ended = r#"{"type":"step_finish","part":{"reason":"stop"}}"#;
    let is_lost = |lines: &[&str]| {
        let mut reader = by_kind("opencode").reader();
        for line in lines {
            reader.line(line);
        }
        reader.is_lost()
    };
    assert!(!is_lost(&[unended; 9]));
    assert!(is_lost(&[unended; 10]));
    // A provider that never says why an answer ended still has commands run.
    let at_work = [[unended, work]; 10].concat();
    assert!(!is_lost(&at_work));
    assert!(!is_lost(&[[unended; 9].as_slice(), &[ended], &[unended; 9]].concat()));
    assert_eq!(
        read("opencode", unended).completion,
        Completion::Incomplete("the agent stopped early (the answer was cut off)".to_owned())
    );
}
