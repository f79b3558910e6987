//! A Task that names an image runs the program that stands for the image on this machine, in the way in which upstream
//! runs the entrypoint of an image; without one it fails before anything is spent.

use serde_json::{Value, json};

use crate::support::env::TestEnv;

/// Writes down what it finds, in results and in a log.
const ENTRYPOINT: &str = r#"#!/bin/sh
echo '{"type":"result","subtype":"success","total_cost_usd":0.5,"usage":{"input_tokens":7,"output_tokens":3},"result":"done"}'
echo ---KELOS_OUTPUTS_START---
echo "prompt: $1"
echo "arguments: $#"
echo "input-bytes: $(wc -c | tr -d ' ')"
echo "file-digest: $(sha256sum <"$KELOS_PROMPT_FILE" | cut -d' ' -f1)"
echo "type: $KELOS_AGENT_TYPE"
echo "model: $KELOS_MODEL"
echo "effort: $KELOS_EFFORT"
echo "key: ${ANTHROPIC_API_KEY#canary-}"
echo "instructions: $KELOS_AGENTS_MD"
echo "skill: $(cat "$KELOS_PLUGIN_DIR/kit/skills/counting/SKILL.md")"
echo "servers: $KELOS_MCP_SERVERS"
echo "setup: ${KELOS_SETUP_COMMAND-none} $(cat set-up 2>/dev/null)"
echo ---KELOS_OUTPUTS_END---
case "$1" in fail*) exit 3 ;; esac
"#;

fn task(env: &TestEnv, name: &str, image: &str, prompt: &str) -> Value {
    let object = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": name},
        "spec": {
            "type": "claude-code", "image": image, "prompt": prompt, "model": "m-1", "effort": "high",
            "credentials": {"type": "api-key", "secretRef": {"name": "model"}},
            "workspaceRef": {"name": "app"}, "branch": format!("kelos/{name}"),
            "agentConfigRef": {"name": "rules"},
        },
    });
    env.create("tasks", &object);
    env.task_ended(name)["status"].clone()
}

#[test]
fn a_program_of_the_operators_own_is_called_as_an_image_is() {
    let mut env = TestEnv::new();
    env.commit("app", &[("readme", "one\n")]);
    env.git(".", &["clone", "--quiet", "--bare", "app", "app.git"]);
    env.write_program("own/entrypoint.sh", ENTRYPOINT);
    env.start(&["--agent", "registry.example:5000/me/agent=own/entrypoint.sh"]);
    let kelos = "kelos.dev/v1alpha1";
    let key = json!({"ANTHROPIC_API_KEY": "canary-5e1f"});
    env.create(
        "secrets",
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "model"}, "stringData": key}),
    );
    let setup = ["sh", "-c", "echo before >set-up"];
    let repo = format!("file://{}", env.path("app.git").display());
    let spec = json!({"repo": repo, "ref": "main", "setupCommand": setup});
    env.create(
        "workspaces",
        &json!({"apiVersion": kelos, "kind": "Workspace", "metadata": {"name": "app"}, "spec": spec}),
    );
    let spec = json!({
        "agentsMD": "Be kind.",
        "plugins": [{"name": "kit", "skills": [{"name": "counting", "content": "count"}]}],
        "mcpServers": [{"name": "probe", "type": "stdio", "command": "true"}],
    });
    env.create(
        "agentconfigs",
        &json!({"apiVersion": kelos, "kind": "AgentConfig", "metadata": {"name": "rules"}, "spec": spec}),
    );

    let status = task(&env, "own", "registry.example:5000/me/agent:1.2@sha256:00", "--help 'me'");
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    let results = &status["results"];
    for (key, value) in [
        ("prompt", "--help 'me'"),
        ("arguments", "1"),
        ("input-bytes", "0"),
        ("type", "claude-code"),
        ("model", "m-1"),
        ("effort", "high"),
        ("key", "5e1f"),
        ("instructions", "Be kind."),
        ("skill", "count"),
        ("setup", "none before"),
        ("branch", "kelos/own"),
        ("cost-usd", "0.5"),
    ] {
        assert_eq!(results[key], value, "{key}: {status:#}");
    }
    let servers: Value = serde_json::from_str(results["servers"].as_str().unwrap()).unwrap();
    assert_eq!(servers["mcpServers"]["probe"]["command"], "true");
    assert_eq!(status["usage"]["inputTokens"], 7, "{status:#}");

    // What no argument can hold comes on standard input, and is in the file as ever.
    let long = "x".repeat(200 * 1024);
    let status = task(&env, "long", "registry.example:5000/me/agent", &long);
    assert_eq!(status["results"]["arguments"], "0", "{status:#}");
    assert_eq!(status["results"]["input-bytes"], long.len().to_string(), "{status:#}");
    let digest = kelos::digest::sha256_hex(&long);
    assert!(digest.ends_with(status["results"]["file-digest"].as_str().unwrap()), "{status:#}");

    let status = task(&env, "failing", "registry.example:5000/me/agent:2", "fail now");
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Failed"), &json!("AgentFailed")),
        "{status:#}"
    );
    assert_eq!(status["message"], "the agent ended with exit code 3");

    let status = task(&env, "unknown", "registry.example:5000/me/other:1", "hi");
    assert_eq!(status["reason"], "ImageNeedsCluster", "{status:#}");
    let hint = "'kelos up --agent registry.example:5000/me/other=PROGRAM'";
    assert!(status["message"].as_str().unwrap().contains(hint), "{status:#}");
}
