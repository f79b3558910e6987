//! A world of its own for the agent's side of a run: processes, files, sockets and a network that are its own.
//!
//! Three processes of our program make it. The step itself stays outside, serves the ways out of the network, and waits. It
//! starts [`enclose`], which leaves the namespaces of the machine, and that starts [`enter`], which is the first process of the
//! new ones: when it ends, the kernel ends everything in there, and it ends when one of those above it does. Nobody inside can
//! signal it.
//!
//! Namespaces are made in a user namespace, so that no rights are needed and none are had: the agent's user is the one it was
//! before, and has no capability. A host may forbid any part of this; then nothing has happened yet, and the step goes on
//! without. No part of it is optional, so that a level is reached or not.

mod channel;
mod loopback;
mod root;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, configure_capability_in_ambient_set, set_capabilities,
};

use crate::api::run::{Network, Plan, Sandbox, Secrets, Workspace};
use crate::git::remote::RemoteUrl;
use crate::process;
use crate::runner::egress::rules::{Host, Rules};
use crate::runner::egress::{self, Exit, Reach};
use crate::runner::enclosure::channel::{MOST_LISTENERS, Word};
use crate::runner::environment::Layout;
use crate::runner::exec::{own_stdout, say};
use crate::runner::folder::Folder;
use crate::runner::sandbox::{self, Grants};
use crate::runner::ssh::{STAND_IN, SshServer};

pub(super) use root::links_on_the_way;

/// The empty folder of a run on which the root of its enclosure is built.
const ROOT_FOLDER: &str = "root";
/// What making an enclosure needs, inside it: mounts, the loopback, and to let go of these.
const NEEDED: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETPCAP);
/// Process numbers beyond the processes that a run may have; the kernel keeps the first 300 for itself.
const SPARE_NUMBERS: u64 = 400;

/// An enclosure that stands, seen from outside. It waits for the secrets.
#[derive(Debug)]
pub(super) struct Enclosure {
    child: Child,
    socket: UnixStream,
    listeners: Vec<OwnedFd>,
}

/// Makes an enclosure for the plan in `folder`; the reason when this host does not let us.
pub(super) fn make(folder: &Folder) -> io::Result<Result<Enclosure, String>> {
    let (socket, theirs) = UnixStream::pair()?;
    // The folder is where the root lies; what is in it when we come is nothing.
    folder.make(ROOT_FOLDER).map_err(io::Error::other)?;
    let mut child = own_step("enclose", folder, OwnedFd::from(theirs).into()).spawn()?;
    match channel::hear(&socket)? {
        Some((Word::Ready, listeners)) => Ok(Ok(Enclosure { child, socket, listeners })),
        Some((Word::Refused(reason), _)) => {
            child.wait()?;
            Ok(Err(reason))
        }
        None => {
            let status = child.wait()?;
            Ok(Err(format!("it ended before it stood ({status})")))
        }
    }
}

impl Enclosure {
    /// Lets the agent's side begin, serves its ways out, and returns how it ended.
    pub(super) fn run(mut self, plan: &Plan, secrets: &Secrets) -> io::Result<ExitStatus> {
        // The way through the proxies of this machine may need a password, which is none of the agent's business.
        channel::give(&self.socket, &Secrets { proxies: BTreeMap::new(), ..secrets.clone() })?;
        let reach = Reach::new(rules(plan).map_err(io::Error::other)?, &secrets.proxies);
        if self.listeners.is_empty() {
            return self.child.wait();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let status = runtime.block_on(async {
            let mut exits = Vec::new();
            // They come in the order in which the inside made them, which is the same there.
            for (listener, way) in self.listeners.into_iter().map(TcpListener::from).zip(ways(plan)) {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                exits.push(match way {
                    Way::Proxy => Exit::Proxy(listener),
                    Way::Ssh(host, port) => Exit::Server(listener, host, port),
                    Way::Loopback(port) => Exit::Loopback(listener, port),
                });
            }
            let (sender, ended) = tokio::sync::oneshot::channel();
            let mut child = self.child;
            // Waited for beside the runtime, which needs no signals for it then.
            std::thread::spawn(move || drop(sender.send(child.wait())));
            tokio::select! {
                status = ended => status.map_err(io::Error::other)?,
                () = egress::serve(exits, reach, |line| say(&format!("kelos: {}", line.escape_debug()))) => {
                    Err(io::ErrorKind::BrokenPipe.into())
                }
            }
        });
        // A look-up of a name that hangs is not waited for.
        runtime.shutdown_background();
        status
    }
}

/// Whom the run of `plan` may reach.
pub(super) fn rules(plan: &Plan) -> Result<Rules, egress::rules::RuleError> {
    let mut rules = Rules::parse(&plan.sandbox.egress)?;
    // Whoever may be cloned from may be pushed to.
    for url in plan.workspace.iter().flat_map(Workspace::urls) {
        if let Some((host, port)) = server_of(url) {
            rules.allow(&host, port);
        }
    }
    Ok(rules)
}

/// A way out of the network of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// The proxy, on any port.
    Proxy,
    /// The ssh server of the workspace, which stands at an address of its own.
    Ssh(Host, u16),
    /// A port of this machine's loopback, under its own number.
    Loopback(u16),
}

// Both sides of an enclosure know the ways, in the same order, by the plan.
fn ways(plan: &Plan) -> Vec<Way> {
    let is_guarded = plan.sandbox.network == Network::Guarded;
    let ssh = SshServer::of(plan).filter(|server| is_guarded && server.has_stand_in());
    let ssh = ssh.and_then(|server| Some(Way::Ssh(Host::parse(&server.host)?, server.port)));
    let ports = open_ports(&plan.sandbox).filter(|_| is_guarded).map(Way::Loopback);
    is_guarded.then_some(Way::Proxy).into_iter().chain(ssh).chain(ports).take(MOST_LISTENERS).collect()
}

// Ports of this machine's loopback that the run finds on its own.
fn open_ports(sandbox: &Sandbox) -> impl Iterator<Item = u16> {
    let ports = sandbox.loopback_ports.iter().copied();
    ports.filter(|port| *port != 0 && !sandbox.closed_ports.contains(port))
}

fn server_of(url: &str) -> Option<(Host, u16)> {
    let url = RemoteUrl::parse(url).ok()?;
    let (host, port) = url.server()?;
    Some((Host::parse(host)?, port))
}

fn own_step(name: &str, folder: &Folder, input: Stdio) -> std::process::Command {
    let mut command = process::command("/proc/self/exe");
    command.arg0("kelos").args(["runner", name]).arg(folder.path()).stdin(input).stderr(Stdio::inherit());
    if let Ok(stdout) = own_stdout() {
        command.stdout(stdout);
    }
    command
}

/// Leaves the namespaces of the machine and starts what lives in the new ones; returns its exit code.
///
/// It is the step `enclose`, in a process of its own that has only one thread.
pub(super) fn enclose(folder: &Folder) -> io::Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = channel::inherited()?;
    let network = folder.plan().map_err(io::Error::other)?.sandbox.network;
    if let Err(fault) = leave(network) {
        channel::say(&socket, &Word::Refused(format!("no namespaces of its own: {fault}")), &[])?;
        return Ok(1);
    }
    let mut child = own_step("enter", folder, Stdio::inherit()).spawn()?;
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn leave(network: Network) -> io::Result<()> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut spaces =
        UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC;
    if network != Network::Open {
        spaces |= UnshareFlags::NEWNET;
    }
    #[expect(deprecated, reason = "its danger is the flag FILES, which is not among these")]
    rustix::thread::unshare(spaces)?;
    // Who does not give the right up to change his groups may not map one.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    // A user other than root loses his capabilities when a program begins, but those that are ambient.
    let own = rustix::thread::capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: NEEDED, ..own })?;
    for capability in NEEDED.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// What the agent's side has around itself, and what it may know.
#[derive(Debug)]
pub(super) struct Inside {
    /// The port of the proxy on its loopback.
    pub(super) proxy: Option<u16>,
    /// The secrets of the run.
    pub(super) secrets: Secrets,
}

/// Makes this process, the first of its namespaces, the agent's side of the run; `None` when that cannot be.
///
/// It is the beginning of the step `enter`. The whole plan must have been read before: afterwards the folder of the run is
/// out of reach.
pub(super) fn enter(
    folder: &Folder,
    plan: &Plan,
    layout: &Layout,
    grants: &Grants,
) -> io::Result<Option<Inside>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = channel::inherited()?;
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        return Err(io::Error::other("this step is a part of another"));
    }
    let listeners = match furnish(folder, plan, layout, grants) {
        Ok(listeners) => listeners,
        Err((what, fault)) => {
            channel::say(&socket, &Word::Refused(format!("cannot {what}: {fault}")), &[])?;
            return Ok(None);
        }
    };
    let proxy = listeners
        .first()
        .filter(|_| plan.sandbox.network == Network::Guarded)
        .and_then(|listener| listener.local_addr().ok())
        .map(|address| address.port());
    let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    channel::say(&socket, &Word::Ready, &descriptors)?;
    Ok(Some(Inside { proxy, secrets: channel::take(&socket)? }))
}

fn furnish(
    folder: &Folder,
    plan: &Plan,
    layout: &Layout,
    grants: &Grants,
) -> Result<Vec<TcpListener>, (String, io::Error)> {
    let attempt = |what: &str, result: io::Result<()>| result.map_err(|fault| (what.to_owned(), fault));
    let network = plan.sandbox.network;
    let mut listeners = Vec::new();
    if network != Network::Open {
        attempt("switch the loopback on", loopback::up())?;
        for way in ways(plan) {
            let (address, port) = match way {
                Way::Proxy => (Ipv4Addr::LOCALHOST, 0),
                Way::Ssh(_, port) => (STAND_IN, port),
                Way::Loopback(port) => (Ipv4Addr::LOCALHOST, port),
            };
            let listener = loopback::listen(address, port);
            listeners.push(listener.map_err(|fault| (format!("listen on {address}:{port}"), fault))?);
        }
    }
    root::enter(&folder.join(ROOT_FOLDER), grants, &layout.temporary)?;
    if let Some(processes) = plan.limits.processes
        && has_numbers_of_its_own()
    {
        let numbers = processes.saturating_add(SPARE_NUMBERS).to_string();
        fs::write("/proc/sys/kernel/pid_max", numbers).ok();
    }
    root::close_machine()?;
    attempt("give the capabilities up", sandbox::give_capabilities_up())?;
    Ok(listeners)
}

// Before Linux 6.14 the greatest number of a process is a setting of the whole machine, and root may change it.
fn has_numbers_of_its_own() -> bool {
    fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| kernel(&release) >= Some((6, 14)))
}

// The version at the beginning of what a kernel says of itself, as `6.18.44-generic`.
fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Removes the folder on which the root was built.
pub(super) fn clean(folder: &Path) {
    // It is empty on this side; what cannot be removed now is removed with the folder of the run.
    fs::remove_dir(folder.join(ROOT_FOLDER)).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_kernel_is_read() {
        for (release, version) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("6.8.0-45-generic", Some((6, 8))),
            ("5.15", Some((5, 15))),
            ("7.0-rc1", Some((7, 0))),
            ("6", None),
            ("", None),
        ] {
            assert_eq!(kernel(release), version, "{release}");
        }
        assert!(kernel("6.8.0") < Some((6, 14)) && kernel("10.1") >= Some((6, 14)));
    }
}
