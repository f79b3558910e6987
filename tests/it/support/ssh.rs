//! A real OpenSSH server on loopback, with keys of its own. `tests/sshd/install.sh` finds or fetches it.

#![expect(clippy::disallowed_methods, reason = "the tests read here where the server is")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kelos::process;

use crate::run_bench::SEARCH_PATH;

/// A server that ends with its owner, and the one key that it lets in.
pub(crate) struct Sshd {
    server: Child,
    port: u16,
    user: String,
    folder: PathBuf,
}

impl Sshd {
    /// Starts a server whose files lie in `folder`, or says on standard error how to have one.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        sshd().map(|sshd| Self::serve(&sshd, folder))
    }

    fn serve(sshd: &Path, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        for key in ["host", "user", "stranger"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", folder.join(key).to_str().unwrap()]);
        }
        // The port may be taken by somebody else in the meantime; then the next one is tried.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let settings = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin prohibit-password\n",
                folder.display()
            );
            std::fs::write(folder.join("settings"), settings).unwrap();
            let mut command = process::command(sshd);
            command.env("PATH", SEARCH_PATH).args(["-D", "-e", "-f"]).arg(folder.join("settings"));
            command.stdout(Stdio::null()).stderr(std::fs::File::create(folder.join("log")).unwrap());
            let mut server = command.spawn().unwrap();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(30) && server.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let user = run("id", &["-un"]);
                    return Self { server, port, user, folder: folder.to_path_buf() };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            drop(server.kill());
            drop(server.wait());
        }
        panic!("{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// Returns the URL of the repository at `path`.
    pub(crate) fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }

    /// Returns the private key that the server lets in (`user`), or one that it does not know (`stranger`).
    pub(crate) fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// Returns the line of `known_hosts` that believes the server (`host`), or takes another for it (`stranger`).
    pub(crate) fn known_hosts(&self, name: &str) -> String {
        let public = std::fs::read_to_string(self.folder.join(format!("{name}.pub"))).unwrap();
        let mut parts = public.split(' ');
        format!("[127.0.0.1]:{} {} {}\n", self.port, parts.next().unwrap(), parts.next().unwrap())
    }

    /// Returns a folder with an `ssh` as a user has it who set it up for this server: with the port, the user and the
    /// host key of it. All else is the real one's.
    pub(crate) fn set_up_ssh(&self) -> PathBuf {
        let programs = self.folder.join("programs");
        std::fs::create_dir_all(&programs).unwrap();
        let hosts = self.folder.join("known_hosts");
        std::fs::write(&hosts, self.known_hosts("host")).unwrap();
        let real = process::find("ssh", SEARCH_PATH.as_ref()).unwrap();
        let script = format!(
            "#!/bin/sh\nexec {} -o Port={} -o User={} -o UserKnownHostsFile={} -o IdentityFile=none \"$@\"\n",
            real.display(),
            self.port,
            self.user,
            hosts.display()
        );
        write_script(&programs.join("ssh"), &script);
        programs
    }

    /// Starts the user's agent with the key that the server lets in; it ends when its owner kills it.
    pub(crate) fn agent(&self) -> Agent {
        let socket = self.folder.join("agent");
        let program = process::find("ssh-agent", SEARCH_PATH.as_ref()).unwrap();
        let mut command = process::command(program);
        command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
        let agent = Agent { process: command.spawn().unwrap(), socket };
        let begun = Instant::now();
        while !agent.socket.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the agent does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        let add = process::find("ssh-add", SEARCH_PATH.as_ref()).unwrap();
        let mut command = process::command(add);
        let added =
            command.arg(self.folder.join("user")).env("SSH_AUTH_SOCK", &agent.socket).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        agent
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// An agent for keys.
pub(crate) struct Agent {
    process: Child,
    pub(crate) socket: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Writes a program. A child does it, so that no other child of this process holds the file open while it is started.
pub(crate) fn write_script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = process::command("/bin/sh");
    let script = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    let output =
        command.env("PATH", SEARCH_PATH).args(["-c", script, "sh", text]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn run(program: &str, arguments: &[&str]) -> String {
    let program = process::find(program, SEARCH_PATH.as_ref()).unwrap();
    let output = process::command(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn sshd() -> Option<PathBuf> {
    let named = std::env::var_os("KELOS_SSHD").map(PathBuf::from);
    let cached = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/kelos-sshd/sshd"));
    let usual = PathBuf::from("/usr/sbin/sshd");
    let found = [named, cached, Some(usual)].into_iter().flatten().find(|path| path.is_file());
    let tools = ["ssh", "ssh-keygen", "ssh-agent", "ssh-add"];
    let has_tools = tools.iter().all(|tool| process::find(tool, SEARCH_PATH.as_ref()).is_some());
    let found = found.filter(|_| has_tools);
    if found.is_none() {
        let hint = "install an OpenSSH client and run tests/sshd/install.sh";
        let required = std::env::var("KELOS_REQUIRE_SSHD").is_ok_and(|value| value == "1");
        assert!(!required, "there is no OpenSSH server; {hint}");
        crate::support::say(&format!("SKIPPED: there is no OpenSSH server; {hint}"));
    }
    found
}
