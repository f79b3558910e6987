//! The oldest and the newest Helm install, change, roll back and remove a chart of our kinds on `kelos up`.

use http::Method;
use serde_json::Value;

use crate::support::clients::{Kubectl, newest_kubectl, oldest_kubectl};
use crate::support::env::{Ran, TestEnv};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/helm/team-setup");

struct Helm<'a> {
    env: &'a TestEnv,
    clients: Kubectl,
}

impl Helm<'_> {
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.env.program(&self.clients.folder.join("helm"), None);
        command.env("KUBECONFIG", self.env.data_dir().join("kubeconfig")).args(arguments);
        self.env.ran(&mut command)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments).success().stdout).unwrap()
    }

    fn reference(&self) -> Value {
        self.env.object("workspace", "demo-app").unwrap()["spec"]["ref"].clone()
    }
}

fn works_with(clients: Option<Kubectl>) {
    let Some(clients) = clients else { return };
    let env = TestEnv::up();
    let helm = Helm { env: &env, clients };

    // The plan is judged by the server and changes nothing.
    let planned = helm.run(&["install", "demo", CHART, "--dry-run=server"]).success();
    assert!(planned.stdout.contains("kind: TaskSpawner"), "{planned}");
    assert!(env.names("workspaces").is_empty());

    helm.run(&["install", "demo", CHART]).success();
    let listed = helm.json(&["list", "-o", "json"]);
    let of = |list: &Value, index: usize, field: &str| list[index][field].clone();
    assert_eq!((of(&listed, 0, "name"), of(&listed, 0, "status")), ("demo".into(), "deployed".into()));
    assert_eq!(helm.reference(), "main");
    assert_eq!(env.names("taskspawners"), ["demo-nightly"]);
    let releases = |env: &TestEnv| {
        let secrets = env.list("secrets").into_iter();
        secrets.filter(|secret| secret["type"] == "helm.sh/release.v1").count()
    };
    assert_eq!(releases(&env), 1);

    helm.run(&["upgrade", "demo", CHART, "--set", "branch=next,token=second"]).success();
    assert_eq!(helm.reference(), "next");
    let secret = env.ask(Method::GET, "/api/v1/namespaces/default/secrets/demo-forge", None).unwrap();
    assert_eq!(secret["data"]["GITHUB_TOKEN"], "c2Vjb25k");
    assert_eq!(helm.json(&["get", "values", "demo", "-o", "json"])["branch"], "next");

    helm.run(&["rollback", "demo", "1"]).success();
    assert_eq!(helm.reference(), "main");
    let history = helm.json(&["history", "demo", "-o", "json"]);
    let statuses: Vec<&Value> =
        history.as_array().unwrap().iter().map(|revision| &revision["status"]).collect();
    assert_eq!(statuses, ["superseded", "superseded", "deployed"]);

    // What the server refuses is shown, and what ran before runs on.
    let refused = helm.run(&["upgrade", "demo", CHART, "--set", "suspend=7"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(refused.stderr.contains("spec.suspend") && refused.stderr.contains("boolean"), "{refused}");
    assert_eq!(env.object("taskspawner", "demo-nightly").unwrap()["spec"]["suspend"], true);
    helm.run(&["upgrade", "--install", "demo", CHART, "--set", "branch=last"]).success();
    assert_eq!(helm.reference(), "last");

    helm.run(&["uninstall", "demo"]).success();
    assert_eq!(helm.json(&["list", "-o", "json"]).as_array().map(Vec::len), Some(0));
    env.until("everything of the chart is gone", |env| {
        let kinds = ["workspaces", "taskspawners", "secrets"];
        kinds.iter().all(|plural| env.names(plural).is_empty()).then_some(())
    });
    assert_eq!(releases(&env), 0);
}

#[test]
fn the_oldest_helm_works() {
    works_with(oldest_kubectl());
}

#[test]
fn the_newest_helm_works() {
    works_with(newest_kubectl());
}
