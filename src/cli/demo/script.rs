//! What the demo does: public commands, in the order in which a person would type them.

/// Some commands that belong together.
#[derive(Debug)]
pub(super) struct Act {
    /// What they show, one sentence.
    pub(super) title: &'static str,
    /// The commands.
    pub(super) commands: &'static [Line],
}

/// One command.
#[derive(Debug)]
pub(super) struct Line {
    /// For a shell, in the demo's folder.
    pub(super) text: &'static str,
    /// The exit status that it is to have.
    pub(super) status: i32,
}

const fn ok(text: &'static str) -> Line {
    Line { text, status: 0 }
}

const fn refused(text: &'static str) -> Line {
    Line { text, status: 1 }
}

/// Starts the daemon; its process id is kept so that it can be killed.
const START: &str = "kelos up --data-dir data --repo config.git --interval 1s --report-writer demo 2>>up.log & echo $! >up.pid; \
                     until kelos get configrepository default >/dev/null 2>&1; do sleep 0.1; done";

/// The demo.
pub(super) const ACTS: &[Act] = &[
    Act {
        title: "A repository that agents work in, and a config repository that says what they do",
        commands: &[
            ok(
                "git init --quiet --initial-branch=main seed && git -C seed commit --quiet --allow-empty --message 'First commit'",
            ),
            ok("git clone --quiet --bare seed app.git"),
            ok("kelos new config"),
            ok("sed -i \"s|https://github.com/example/app.git|file://$PWD/app.git|\" config/kelos.yaml"),
            ok("kelos validate config"),
            ok("git init --quiet --bare --initial-branch=main config.git"),
            ok(
                "git -C config init --quiet --initial-branch=main && git -C config add --all && git -C config commit --quiet --message 'First definitions'",
            ),
            ok(
                "git -C config remote add origin ../config.git && git -C config push --quiet --set-upstream origin main",
            ),
        ],
    },
    Act {
        title: "The daemon pulls the commit, validates it and applies it",
        commands: &[ok(START), ok("kelos reconcile default"), ok("kelos get configrepositories")],
    },
    Act {
        title: "Three Tasks, each after the one before, hand a branch on",
        commands: &[
            ok("kelos logs --follow greeting-write"),
            ok("kelos logs --follow greeting-check"),
            ok("kelos logs --follow greeting-sign"),
            ok("kelos get tasks"),
            ok("git -C app.git log --format='%h %s' kelos/greeting"),
        ],
    },
    Act {
        title: "What ran is written back into git",
        commands: &[
            ok(
                "until git -C config.git grep --quiet greeting-sign kelos-status 2>/dev/null; do sleep 0.1; done",
            ),
            ok("git -C config.git log --format='%h %s' kelos-status"),
            ok("git -C config.git show kelos-status:demo/README.md"),
        ],
    },
    Act {
        title: "A broken commit is refused with its line, and what was applied runs on",
        commands: &[
            ok("sed -i 's/schedule: .*/schedule: \"0 25 * * *\"/' config/spawners/heartbeat.yaml"),
            refused("kelos validate config"),
            ok(
                "git -C config commit --quiet --all --message 'Run at 25 o’clock' && git -C config push --quiet",
            ),
            refused("kelos reconcile default"),
            ok("kelos get configrepositories && kelos get taskspawners"),
            ok("git -C config revert --no-edit HEAD >/dev/null && git -C config push --quiet"),
            ok("kelos reconcile default"),
        ],
    },
    Act {
        title: "The daemon is killed while a Task runs; the next one takes the run up, and nothing runs twice",
        commands: &[
            ok(
                "kelos run --type shell --credential-type none --name slow --prompt 'echo started; sleep 3; echo done' --yes",
            ),
            ok("until kelos get task slow | grep --quiet Running; do sleep 0.1; done"),
            ok("kill -9 $(cat up.pid)"),
            ok(START),
            ok("kelos logs --follow slow"),
            ok("until kelos get task slow | grep --quiet Succeeded; do sleep 0.1; done"),
            ok("kelos get tasks"),
        ],
    },
    Act {
        title: "The schedule makes a Task at the full minute",
        commands: &[
            ok("until kelos get runrecords | grep --quiet heartbeat; do sleep 0.2; done"),
            ok("kelos get taskspawners && kelos get runrecords"),
            ok(
                "until git -C config.git grep --quiet heartbeat- kelos-status -- '*.jsonl' 2>/dev/null; do sleep 0.1; done",
            ),
        ],
    },
];

/// What to type next.
pub(super) const NEXT: &str = "\
What next:
  kelos new my-config             a config repository of your own; its README says what to change
  kelos up --repo my-config       run it; leave it running and use another terminal
  kelos get tasks                 see what runs; kubectl works too, with the KUBECONFIG that 'kelos up' prints
  docs/guide.md                   from zero to agents that open pull requests";
