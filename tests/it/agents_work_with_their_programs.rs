//! The real programs of agents work as Tasks: what a Task says reaches them and their model, what they do reaches the
//! Task's status, and whatever is not a finished piece of work is a failure that says why.
//!
//! The model is scripted and on loopback; everything else is real. `UPDATE_TRANSCRIPTS=1` records what the programs
//! print, for the tests of the readers.

use std::time::{Duration, Instant};

use base64::Engine as _;
use kelos::api::labels;
use serde_json::{Value, json};

use crate::support::agents::{Program, program, recording};
use crate::support::env::TestEnv;
use crate::support::model_endpoint::{Asked, INPUT_TOKENS, ModelEndpoint, OUTPUT_TOKENS, PROBE_TOOL, Turn};

/// Longer than the slowest program takes to give up, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(8);
/// What nobody may see but the endpoints that they are for.
const MODEL_KEY: &str = "canary-model-key-7f3a";
const SERVER_KEY: &str = "canary-server-key-9b1c";
const VARIABLE: &str = "canary-variable-2d4e";

const INSTRUCTIONS: &str = "Begin every answer with the word ahoy.";

/// What a program is like, as far as a test has to know.
struct Trade {
    /// The agent type.
    kind: &'static str,
    /// The key of the Secret and the variable for the credential.
    credential: &'static str,
    /// The header in which the provider gets it.
    header: &'static str,
    /// Model and effort as the Task names them, and how the endpoint sees that they arrived.
    model: &'static str,
    effort: &'static str,
    has_effort: fn(&Asked) -> bool,
    /// Whether it knows sub-agents of plugins.
    has_sub_agents: bool,
    /// Whether it says what a run cost.
    has_cost: bool,
    /// The reasons of failures: scenario, reason or reasons with `|` between them, words of the message.
    failures: &'static [(&'static str, &'static str, &'static str)],
    /// Variables that point it to the endpoint and make it give up soon.
    variables: fn(&str) -> Vec<(&'static str, String)>,
}

const CLAUDE_CODE: Trade = Trade {
    kind: "claude-code",
    credential: "ANTHROPIC_API_KEY",
    header: "x-api-key",
    model: "claude-sonnet-4-5",
    effort: "high",
    has_effort: |asked| asked.body["output_config"]["effort"] == "high" || asked.body["thinking"].is_object(),
    has_sub_agents: true,
    has_cost: true,
    failures: &[
        ("limit", "AgentFailed", "the answer reached its limit"),
        ("refuse", "AgentFailed", "refusal"),
        ("cut", "AgentFailed", "the answer was cut off"),
        ("ends-early", "AgentFailed", "the answer was cut off"),
        ("fail-401", "AgentFailed", "HTTP status 401"),
        ("fail-429", "AgentFailed", "HTTP status 429"),
        ("fail-529", "AgentFailed", "HTTP status 529"),
    ],
    variables: |url| {
        vec![("ANTHROPIC_BASE_URL", url.to_owned()), ("CLAUDE_CODE_MAX_RETRIES", "1".to_owned())]
    },
};

const CODEX: Trade = Trade {
    kind: "codex",
    credential: "CODEX_API_KEY",
    header: "authorization",
    model: "gpt-5",
    effort: "high",
    has_effort: |asked| asked.body["reasoning"]["effort"] == "high",
    has_sub_agents: false,
    has_cost: false,
    failures: &[
        ("limit", "AgentFailed", "max_output_tokens"),
        ("refuse", "AgentFailed", "content_filter"),
        ("cut", "AgentFailed", "the answer was cut off"),
        ("ends-early", "AgentFailed", "the answer was cut off"),
        ("fail-401", "AgentFailed", "HTTP status 401"),
        ("fail-429", "AgentFailed", "HTTP status 429"),
        ("fail-529", "AgentFailed", "HTTP status 529"),
    ],
    variables: |url| vec![("OPENAI_BASE_URL", format!("{url}/v1"))],
};

const GEMINI: Trade = Trade {
    kind: "gemini",
    credential: "GEMINI_API_KEY",
    header: "x-goog-api-key",
    model: "gemini-2.5-pro",
    effort: "high",
    has_effort: |asked| asked.body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 24_576,
    has_sub_agents: true,
    has_cost: false,
    failures: &[
        ("limit", "IncompleteResult", "finish reason length"),
        ("refuse", "IncompleteResult", "finish reason content_filter"),
        // Older versions do not say more.
        ("cut", "AgentFailed", "status error"),
        ("cut-first", "AgentFailed", "status error"),
        // After the result of a command it takes an answer without its end for a whole one, and says so nowhere.
        ("ends-early-first", "IncompleteResult", "status error"),
        ("loop", "IncompleteResult", "the agent went in circles"),
        ("fail-401", "AgentFailed", "HTTP status 401"),
        // Which status it was stands in its telemetry, whose end it does not always live to write.
        ("fail-429", "AgentFailed", "status error"),
        ("fail-529", "AgentFailed", "status error"),
    ],
    variables: |url| vec![("GOOGLE_GEMINI_BASE_URL", url.to_owned())],
};

const OPENCODE: Trade = Trade {
    kind: "opencode",
    credential: "OPENCODE_API_KEY",
    header: "x-api-key",
    model: "anthropic/claude-sonnet-4-5",
    effort: "high",
    has_effort: |asked| asked.body["thinking"]["budget_tokens"] == 16_000,
    has_sub_agents: true,
    has_cost: true,
    failures: &[
        ("limit", "IncompleteResult", "finish reason length"),
        ("refuse", "AgentFailed", "ContentFilterError"),
        ("cut", "AgentFailed", "the answer was cut off"),
        ("cut-first", "AgentFailed", "the answer was cut off"),
        // It asks again without an end and is ended; older versions end by themselves.
        ("ends-early", "AgentFailed|IncompleteResult", "cut off"),
        ("ends-early-first", "AgentFailed|IncompleteResult", "cut off"),
        ("fail-401", "AgentFailed", "HTTP status 401"),
        ("fail-429", "AgentFailed", "HTTP status 429"),
        ("fail-529", "AgentFailed", "HTTP status 529"),
    ],
    variables: |url| {
        let provider = json!({"anthropic": {"options": {"baseURL": format!("{url}/v1")}}});
        vec![("OPENCODE_CONFIG_CONTENT", json!({ "provider": provider }).to_string())]
    },
};

#[test]
fn claude_code_works_with_its_program() {
    works(&CLAUDE_CODE);
}

#[test]
fn codex_works_with_its_program() {
    works(&CODEX);
}

#[test]
fn gemini_works_with_its_program() {
    works(&GEMINI);
}

#[test]
fn opencode_works_with_its_program() {
    works(&OPENCODE);
}

#[test]
fn the_programs_work_below_an_enclosure() {
    for trade in [&CLAUDE_CODE, &CODEX, &GEMINI, &OPENCODE] {
        let Some((env, endpoint, program)) = begin(trade, &["--maximum-sandbox", "isolated"]) else { return };
        create(&env, trade, &endpoint, "works", "Do the scenario works now.", true);
        check_work(&env, trade, &endpoint, &program);
        nothing_is_told(&env);
    }
}

// What the model has run: it looks for secrets in the command lines of everything that it sees, leaves what it found in
// a commit, and pushes it.
const WORK: &str = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file; echo; done >seen.txt 2>/dev/null; \
                    git add seen.txt && git commit -qm 'Look around' && git push -q origin HEAD";

/// What a prompt may ask for.
const SCENARIOS: [&str; 12] = [
    "works",
    "exact",
    "limit",
    "refuse",
    "cut",
    "cut-first",
    "ends-early",
    "ends-early-first",
    "loop",
    "fail-401",
    "fail-429",
    "fail-529",
];

/// Does what the prompt asks for: it names a scenario.
fn script(asked: &Asked) -> Turn {
    let scenario = SCENARIOS.iter().copied().find(|scenario| asked.tells(&format!("scenario {scenario} ")));
    match (scenario, asked.results) {
        (Some("works"), 0) => Turn::Run(WORK.to_owned()),
        (Some("limit" | "refuse" | "cut" | "ends-early"), 0) | (Some("loop"), _) => {
            Turn::Run("true".to_owned())
        }
        (Some("limit"), _) => Turn::ReachLimit,
        (Some("refuse"), _) => Turn::Refuse,
        (Some("cut" | "cut-first"), _) => Turn::CutOff,
        (Some("ends-early" | "ends-early-first"), _) => Turn::EndEarly,
        (Some(scenario), _) => match scenario.strip_prefix("fail-") {
            Some(status) => Turn::Fail(status.parse().unwrap()),
            None => Turn::Say("all done"),
        },
        (None, _) => Turn::Say("all done"),
    }
}

/// Starts a daemon with more options, on which the agent can work; `None` where its program is not here.
fn begin(trade: &Trade, options: &[&str]) -> Option<(TestEnv, ModelEndpoint, Program)> {
    let kind = trade.kind;
    let program = program(kind)?;
    let endpoint = ModelEndpoint::start(script);
    let mut env = TestEnv::new();
    // Gemini CLI would ask ten times, for four minutes.
    let few_attempts = r#"{"general": {"maxAttempts": 2}}"#;
    env.commit("app", &[("readme", "one\n"), (".gemini/settings.json", few_attempts)]);
    env.git(".", &["clone", "--quiet", "--bare", "app", "app.git"]);
    let agent = format!("{kind}={}", program.path.display());
    let port = endpoint.port();
    env.start(&[&["--slots", "5", "--agent", &agent, "--loopback-port", &port], options].concat());
    furnish(&env, trade, &endpoint);
    Some((env, endpoint, program))
}

fn works(trade: &Trade) {
    let Some((env, endpoint, program)) = begin(trade, &[]) else { return };
    let exact = exact_prompts();
    create(&env, trade, &endpoint, "works", "Do the scenario works now.", true);
    for (number, prompt) in exact.iter().enumerate() {
        create(&env, trade, &endpoint, &format!("exact-{number}"), prompt, false);
    }
    for (scenario, ..) in trade.failures {
        create(&env, trade, &endpoint, scenario, &format!("Do the scenario {scenario} now."), false);
    }

    check_work(&env, trade, &endpoint, &program);
    for (number, prompt) in exact.iter().enumerate() {
        let task = ended(&env, &format!("exact-{number}"));
        assert_eq!(task["status"]["phase"], "Succeeded", "{}: {:#}", number, task["status"]);
        assert!(endpoint.at_work().iter().any(|asked| asked.tells(prompt)), "prompt {number} is altered");
    }
    for (scenario, reason, words) in trade.failures {
        let task = ended(&env, scenario);
        record(&env, &program, scenario);
        let status = &task["status"];
        let log = env.kelos(&["logs", scenario]);
        assert_eq!(status["phase"], "Failed", "{scenario}: {status:#}\n{log}");
        assert!(reason.split('|').any(|reason| status["reason"] == reason), "{scenario}: {status:#}\n{log}");
        assert!(status["message"].as_str().unwrap().contains(words), "{scenario}: {status:#}\n{log}");
    }
    nothing_is_told(&env);
}

/// Makes what the Tasks name.
fn furnish(env: &TestEnv, trade: &Trade, endpoint: &ModelEndpoint) {
    for (name, key, value) in
        [("model", trade.credential, MODEL_KEY), ("server", "X-Probe", SERVER_KEY), ("more", "KEY", VARIABLE)]
    {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value},
        });
        env.create("secrets", &object);
    }
    let repo = format!("file://{}", env.path("app.git").display());
    let kelos = "kelos.dev/v1alpha1";
    env.create(
        "workspaces",
        &json!({
            "apiVersion": kelos, "kind": "Workspace", "metadata": {"name": "app"},
            "spec": {"repo": repo, "ref": "main"},
        }),
    );
    let file = |name: &str, description: &str| {
        let content = format!("---\nname: {name}\ndescription: {description}\n---\nDo it.\n");
        json!({"name": name, "content": content})
    };
    env.create(
        "agentconfigs",
        &json!({
            "apiVersion": kelos, "kind": "AgentConfig", "metadata": {"name": "rules"},
            "spec": {
                "agentsMD": INSTRUCTIONS,
                "plugins": [{
                    "name": "kit",
                    "skills": [file("counting", "Counts sheep before it sleeps")],
                    "agents": [file("critic", "Finds fault with sheep")],
                }],
                "mcpServers": [{
                    "name": "probe", "type": "http", "url": format!("{}/mcp", endpoint.url()),
                    "headersFrom": {"secretRef": {"name": "server"}},
                }],
            },
        }),
    );
}

fn create(
    env: &TestEnv,
    trade: &Trade,
    endpoint: &ModelEndpoint,
    name: &str,
    prompt: &str,
    is_furnished: bool,
) {
    let own = (trade.variables)(&endpoint.url());
    let mut variables: Vec<Value> =
        own.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    variables.push(json!({
        "name": "SOMETHING_ELSE", "valueFrom": {"secretKeyRef": {"name": "more", "key": "KEY"}},
    }));
    let mut spec = json!({
        "type": trade.kind, "prompt": prompt, "model": trade.model,
        "credentials": {"type": "api-key", "secretRef": {"name": "model"}},
        "podOverrides": {"env": variables}, "workspaceRef": {"name": "app"},
    });
    if is_furnished {
        let more = json!({
            "effort": trade.effort, "branch": format!("kelos/{name}"),
            "agentConfigRef": {"name": "rules"},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    let metadata = json!({"name": name, "annotations": {labels::LOOPBACK_PORTS: endpoint.port()}});
    let object =
        json!({"apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": metadata, "spec": spec});
    env.create("tasks", &object);
}

fn ended(env: &TestEnv, name: &str) -> Value {
    let begun = Instant::now();
    loop {
        let task = env.object("task", name).unwrap();
        if matches!(task["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return task;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{name} does not end: {:#}\n{}",
            task["status"],
            env.kelos(&["logs", name])
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn check_work(env: &TestEnv, trade: &Trade, endpoint: &ModelEndpoint, program: &Program) {
    let task = ended(env, "works");
    record(env, program, "works");
    let (status, log) = (&task["status"], env.kelos(&["logs", "works"]));
    assert_eq!(status["phase"], "Succeeded", "{status:#}\n{log}");
    let results = &status["results"];
    let pushed = env.git("app.git", &["rev-parse", "kelos/works"]);
    assert_eq!(results["branch"], "kelos/works", "{status:#}");
    assert_eq!(results["commit"], *pushed, "{status:#}");
    assert_eq!(results["base-branch"], "main", "{status:#}");
    let answer = base64::engine::general_purpose::STANDARD.encode("all done");
    assert_eq!(results["response"], answer, "{status:#}");
    // Two answers: the command, and that it is done.
    assert_eq!(status["usage"]["inputTokens"], 2 * INPUT_TOKENS, "{status:#}");
    assert_eq!(status["usage"]["outputTokens"], 2 * OUTPUT_TOKENS, "{status:#}");
    assert_eq!(status["usage"]["costUSD"].is_string(), trade.has_cost, "{status:#}");
    assert_eq!(status["agentVersion"], program.version.as_str(), "{status:#}");
    let seen = env.git("app.git", &["show", "kelos/works:seen.txt"]);
    assert!(seen.contains("tr "), "the command lines are there: {seen}");
    assert!(!seen.contains("canary-"), "{seen}");

    let asked = endpoint.at_work().into_iter().find(|asked| asked.tells("scenario works ")).unwrap();
    for text in [INSTRUCTIONS, "Counts sheep before it sleeps", PROBE_TOOL] {
        assert!(asked.tells(text), "the model is not told: {text}");
    }
    assert_eq!(asked.tells("Finds fault with sheep"), trade.has_sub_agents);
    assert!((trade.has_effort)(&asked), "the effort does not arrive");
    let model = trade.model.rsplit('/').next().unwrap();
    assert!(asked.body["model"] == model || asked.target.contains(model), "{}", asked.target);
    assert!(
        asked.header(trade.header).is_some_and(|value| value.ends_with(MODEL_KEY)),
        "{:?}",
        asked.headers
    );
    let all = endpoint.all();
    let tools: Vec<&Asked> = all.iter().filter(|asked| asked.target == "/mcp").collect();
    assert!(tools.iter().any(|asked| asked.header("x-probe") == Some(SERVER_KEY)));
    assert!(
        tools.iter().all(|asked| asked.header(trade.header).is_none()),
        "a key goes to its provider alone"
    );
}

/// Prompts that a shell, a template or an option parser would alter.
fn exact_prompts() -> Vec<String> {
    let awkward = "--help scenario exact \"q\" 's' $(id) `id` $$ \\ \\n\ttab {{.X}} <b>&amp; @/etc/hostname é\u{2028}\r\n-- last";
    let long = format!("scenario exact {}end", "0123456789abcde\n".repeat(200 * 64));
    assert!(long.len() > 200 * 1024);
    vec![awkward.to_owned(), long, "-".to_owned(), "scenario exact a\0b".to_owned()]
}

fn record(env: &TestEnv, program: &Program, scenario: &str) {
    let Some(folder) = recording(program) else { return };
    let uid = env.object("task", scenario).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let log = std::fs::read_to_string(env.data_dir().join("runs").join(uid).join("log")).unwrap();
    let is_printed = |line: &&str| line.starts_with('{');
    let lines: Vec<&str> = log.lines().filter(is_printed).collect();
    let text = lines.join("\n").replace(&env.path("").display().to_string(), "/kelos/");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{scenario}.jsonl")), format!("{text}\n")).unwrap();
}

/// What a run needs no more goes while it is looked at.
fn unless_it_went<T>(found: std::io::Result<T>) -> Option<T> {
    match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        found => Some(found.unwrap()),
    }
}

/// The secrets are in no object but their own, in no log, and in no file that a run leaves.
fn nothing_is_told(env: &TestEnv) {
    let mut told = vec![("log of the daemon".to_owned(), env.daemon_log())];
    for plural in ["tasks", "runrecords", "events", "workspaces", "agentconfigs"] {
        told.extend(env.list(plural).into_iter().map(|object| (plural.to_owned(), object.to_string())));
    }
    let mut folders = vec![env.data_dir().join("runs")];
    while let Some(folder) = folders.pop() {
        let Some(entries) = unless_it_went(std::fs::read_dir(folder)) else { continue };
        for entry in entries.filter_map(unless_it_went) {
            let kind = unless_it_went(entry.file_type());
            if kind.is_some_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if kind.is_some_and(|kind| kind.is_file())
                && let Some(content) = unless_it_went(std::fs::read(entry.path()))
            {
                told.push((
                    entry.path().display().to_string(),
                    String::from_utf8_lossy(&content).into_owned(),
                ));
            }
        }
    }
    assert!(told.len() > 10, "there is something to look at");
    for (place, text) in told {
        for canary in [MODEL_KEY, SERVER_KEY, VARIABLE] {
            assert!(!text.contains(canary), "{canary} is in {place}");
        }
    }
}
