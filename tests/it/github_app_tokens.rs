//! A Secret with a GitHub App serves as a token does: for pulls, for reports and for runs, each for no more than it
//! needs, and for as long as a run goes on.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kelos::clock::{ManualClock, SharedClock};
use kelos::forge::app::{Access, App, AppError, Tokens};
use kelos::secret::Secret;
use serde_json::json;

use crate::git_over_https::apply;
use crate::run_bench::SEARCH_PATH;
use crate::support::env::TestEnv;
use crate::support::forge::task_in;
use crate::support::github_app::{APP, GithubApp, INSTALLATION, KEY};
use crate::support::ssh::write_script;
use crate::support::web::{Asked, Reply, Repositories, Web};

const OTHER_KEY: &str = include_str!("../testdata/forge/other-app.pem");

/// A forge that is asked for tokens alone.
fn forge(app: &GithubApp) -> Web {
    let app = app.clone();
    Web::start(move |asked| app.serve(asked).unwrap_or_else(|| Reply::text(404, "{}")))
}

/// A forge with the repositories below `served`, which a token opens that is for them.
fn forge_with_repositories(env: &TestEnv, app: &GithubApp) -> Web {
    let (app, repositories) = (app.clone(), Repositories::below(&env.path("served")));
    Web::start(move |asked: &Asked| {
        if let Some(reply) = app.serve(asked) {
            return reply;
        }
        let name = asked.path.split('/').nth(2).unwrap_or_default().trim_end_matches(".git");
        match asked.basic() {
            Some((user, token)) if user == "x-access-token" && app.knows(&token, name) => {
                repositories.serve(asked)
            }
            _ => Reply::unauthorized(),
        }
    })
}

fn app_at(web: &Web, id: &str, installation: &str, key: &str) -> App {
    let host = web.url("").trim_start_matches("https://").to_owned();
    App::parse(&host, id, installation, Secret::new(key), Some(web.authority().to_owned())).unwrap()
}

fn now() -> Timestamp {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn callers_at_once_share_a_token_until_shortly_before_its_end() {
    let fake = GithubApp::with(&["app", "lib"]);
    let web = forge(&fake);
    let clock = Arc::new(ManualClock::at(now()));
    fake.clock(Some(now()));
    let tokens = Tokens::new(Arc::clone(&clock) as SharedClock);
    let app = app_at(&web, APP, INSTALLATION, KEY);
    let names = ["app".to_owned()];
    let all = futures::future::join_all((0..10).map(|_| tokens.token(&app, &names, Access::Full))).await;
    assert!(all.iter().all(|token| token.as_ref().unwrap().expose() == "ghs_canary1"), "{all:?}");
    assert_eq!(fake.tokens(), [("ghs_canary1".to_owned(), json!({"repositories": ["app"]}))]);
    let advance = |minutes: i64| {
        clock.advance(SignedDuration::from_mins(minutes));
        fake.clock(Some(kelos::clock::Clock::now(&*clock)));
    };
    advance(54);
    assert_eq!(tokens.token(&app, &names, Access::Full).await.unwrap().expose(), "ghs_canary1");
    advance(2);
    assert_eq!(tokens.token(&app, &names, Access::Full).await.unwrap().expose(), "ghs_canary2");
    // What is wanted is part of what is remembered.
    tokens.token(&app, &names, Access::ReadContents).await.unwrap();
    tokens.token(&app, &["app".to_owned(), "lib".to_owned()], Access::WriteContents).await.unwrap();
    let wanted: Vec<_> = fake.tokens().into_iter().skip(2).map(|(_, wanted)| wanted).collect();
    let expected = [
        json!({"repositories": ["app"], "permissions": {"contents": "read"}}),
        json!({"repositories": ["app", "lib"], "permissions": {"contents": "write"}}),
    ];
    assert_eq!(wanted, expected);
    // A forge that is away is no reason to give up a token that is still good for a moment, and none is after that.
    fake.answer_instead(Some((503, "later")));
    advance(57);
    assert_eq!(tokens.token(&app, &names, Access::Full).await.unwrap().expose(), "ghs_canary2");
    let asked = web.seen().len();
    advance(5);
    let error = tokens.token(&app, &names, Access::Full).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("503: later"), "{error}");
    assert_eq!(web.seen().len(), asked, "a failure is not asked for again at once");
    for asked in web.seen() {
        assert_eq!(asked.headers["x-github-api-version"], "2022-11-28");
        assert!(asked.headers["user-agent"].starts_with("kelos/"));
    }
}

#[tokio::test]
async fn what_stands_between_an_app_and_its_token_is_said() {
    let fake = GithubApp::with(&["app"]);
    let web = forge(&fake);
    let names = ["app".to_owned()];
    let elsewhere = forge(&fake);
    let to = elsewhere.url("/api/v3/app/installations/815/access_tokens");
    let redirecting = Web::start(move |_| Reply::redirect(307, &to));
    let garbled = Web::start(|_| Reply::text(201, "{\"token\": 1}"));
    let minted = async |app: &App, repositories: &[String]| {
        let tokens = Tokens::new(Arc::new(ManualClock::at(now())));
        tokens.token(app, repositories, Access::Full).await.unwrap_err()
    };
    let good = app_at(&web, APP, INSTALLATION, KEY);
    let mut found: Vec<(AppError, bool, &str)> = Vec::new();
    fake.clock(Some(now()));
    let other = minted(&app_at(&web, APP, INSTALLATION, OTHER_KEY), &names).await;
    found.push((other, false, "do not belong together"));
    found.push((
        minted(&app_at(&web, "999", INSTALLATION, KEY), &names).await,
        false,
        "do not belong together",
    ));
    found.push((minted(&app_at(&web, APP, "1", KEY), &names).await, false, "no such installation"));
    found.push((minted(&good, &["secret".to_owned()]).await, false, "does not have the repository"));
    for (skew, expected) in [(-10, "set the clock"), (20, "set the clock")] {
        fake.clock(Some(now() + SignedDuration::from_mins(skew)));
        found.push((minted(&good, &names).await, false, expected));
    }
    for (status, said, is_transient, expected) in [
        (403, "This installation has been suspended", false, "is suspended"),
        (403, "Resource not accessible by integration", false, "may not"),
        (403, "You have exceeded a secondary rate limit", true, "too many requests"),
        (429, "slow down", true, "status 429"),
        (500, "oops", true, "status 500"),
    ] {
        fake.answer_instead(Some((status, said)));
        found.push((minted(&good, &names).await, is_transient, expected));
    }
    fake.answer_instead(None);
    found.push((minted(&app_at(&redirecting, APP, INSTALLATION, KEY), &names).await, false, "elsewhere"));
    found.push((minted(&app_at(&garbled, APP, INSTALLATION, KEY), &names).await, true, "not a token"));
    let stranger =
        App::parse(web.url("").trim_start_matches("https://"), APP, INSTALLATION, Secret::new(KEY), None);
    found.push((minted(&stranger.unwrap(), &names).await, true, "certificate"));
    for (error, is_transient, expected) in found {
        let text = error.to_string();
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(error.is_transient(), is_transient, "{text}");
        assert!(!text.contains("PRIVATE") && !text.contains("Bearer") && !text.contains("eyJ"), "{text}");
    }
    assert!(elsewhere.seen().is_empty(), "the assertion follows no redirect");
    assert!(fake.tokens().is_empty());
    for (id, installation, key) in
        [("a b", "1", KEY), ("1", "../1", KEY), ("1", "1", "no key"), ("", "1", KEY)]
    {
        let error = App::parse("github.com", id, installation, Secret::new(key), None).unwrap_err();
        assert!(matches!(error, AppError::Malformed(_)), "{error}");
    }
}

fn secret(env: &TestEnv, web: &Web) {
    let values =
        [("appID", APP), ("installationID", INSTALLATION), ("privateKey", KEY), ("ca.crt", web.authority())];
    env.secret("app", &values);
}

#[test]
fn an_app_serves_pulls_reports_and_runs_each_with_a_token_of_its_own() {
    let mut env = TestEnv::new();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let fake = GithubApp::with(&["config", "code"]);
    let web = forge_with_repositories(&env, &fake);
    // Tokens that are about to end from the beginning: each look at the run brings a new one.
    fake.tokens_last(SignedDuration::from_mins(4));
    let script = "while test \"$(cat \"$KELOS_GITHUB_TOKEN_FILE\")\" = \"$GITHUB_TOKEN\"; do sleep 0.1; done\n\
                  test \"$(gh)\" != \"$GITHUB_TOKEN\"\n\
                  echo two >>readme\ngit commit -qam two\ngit push -q origin HEAD\n\
                  if echo x 2>/dev/null >\"$KELOS_GITHUB_TOKEN_FILE\"; then echo WROTE; fi\n\
                  echo done";
    let manifest = task_in(&web.url("/acme/code.git"), Some("app"), script);
    env.serve("acme/config.git", "config", &[("task.yaml", &manifest)]);
    let programs = env.path("programs");
    write_script(&programs.join("gh"), "#!/bin/sh\necho \"$GH_ENTERPRISE_TOKEN\"\n");
    env.set_variable("PATH", &format!("{}:{SEARCH_PATH}", programs.display()));
    env.start(&[]);
    secret(&env, &web);
    let spec = json!({"secretRef": {"name": "app"}, "report": {"interval": "1s"}});
    env.follow(&web.url("/acme/config.git"), spec);
    let task = env.task_ended("change");
    let log = env.kelos(&["logs", "change"]);
    assert_eq!(task["status"]["phase"], "Succeeded", "{task:#} {log}");
    assert!(log.stdout.contains("done") && !log.stdout.contains("WROTE"), "{log}");
    assert_eq!(env.git("served/acme/code.git", &["show", "work:readme"]), "one\ntwo");
    env.until("the report is on the server", |env| {
        let branches = env.git("served/acme/config.git", &["branch", "--list", "kelos-status"]);
        (!branches.is_empty()).then_some(())
    });
    let wanted: Vec<_> = fake.tokens().into_iter().map(|(_, wanted)| wanted).collect();
    for expected in [
        json!({"repositories": ["config"], "permissions": {"contents": "read"}}),
        json!({"repositories": ["config"], "permissions": {"contents": "write"}}),
        json!({"repositories": ["code"]}),
    ] {
        assert!(wanted.contains(&expected), "{expected} is not in {wanted:?}");
    }
    env.holds_no_canary();
}

#[test]
fn a_task_waits_for_a_forge_that_is_away_and_fails_for_one_that_refuses() {
    let mut env = TestEnv::new();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let fake = GithubApp::with(&["code"]);
    let web = forge_with_repositories(&env, &fake);
    fake.answer_instead(Some((503, "maintenance")));
    env.start(&[]);
    secret(&env, &web);
    let manifest = task_in(&web.url("/acme/code.git"), Some("app"), "cat readme");
    apply(&env, &manifest);
    env.until("it waits for a token", |env| {
        let status = env.object("task", "change")?["status"].clone();
        let says =
            status["reason"] == "WaitingForToken" && status["message"].as_str()?.contains("maintenance");
        says.then_some(())
    });
    fake.answer_instead(None);
    assert_eq!(env.task_ended("change")["status"]["phase"], "Succeeded");
    let refused = manifest.split("---\n").nth(1).unwrap().replace("name: change", "name: refused");
    env.secret(
        "other",
        &[("appID", APP), ("installationID", "1"), ("privateKey", KEY), ("ca.crt", web.authority())],
    );
    env.patch("workspaces", "code", &json!({"spec": {"secretRef": {"name": "other"}}}));
    apply(&env, &refused);
    let status = env.task_ended("refused")["status"].clone();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Failed"), &json!("TokenRefused")),
        "{status:#}"
    );
    assert!(status["message"].as_str().unwrap().contains("no such installation"), "{status:#}");
}
