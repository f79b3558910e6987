//! What is put between an agent and the machine: resource limits, no new privileges, Landlock.
//!
//! A process restricts itself here, for good, and everything that it starts inherits that. Landlock names what is
//! allowed and nothing else is: the system and the folders of programs to read, the run's own folders to write. What
//! is private is never allowed, and where it lies inside something that is, the rest of that is allowed piece by
//! piece. Unix sockets with a path are closed from kernel 7.1 on; before that only file permissions guard them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::api::run::{Limits, Network, NetworkHold, Sandbox, SandboxLevel};
use crate::process::tree;
use crate::runner::enclosure::links_on_the_way;

/// The system: programs, libraries and their settings.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/snap",
    "/proc",
    "/sys",
    // Names and certificates, where they do not lie in /etc itself. Not the folder, whose sockets look names up for anybody.
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/localtime",
    "/run/systemd/resolve/resolv.conf",
    "/run/systemd/resolve/stub-resolv.conf",
    "/run/current-system",
    "/var/lib/ca-certificates",
];
/// Where settings and what was installed by hand may be closed to all but root, whom an agent of root's still is.
const SYSTEM_WITH_SECRETS: &[&str] = &["/etc", "/opt", "/usr/local"];
/// Where root sees what the whole machine does, such as what its keyboards send.
const OF_ROOT: &[&str] = &["/sys/kernel/debug", "/sys/kernel/tracing"];
/// Devices that programs take for granted. No terminals: those of the machine are the user's, an enclosure has its own.
pub(super) const DEVICES: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Shared memory, which is made and removed by name.
const SHARED_MEMORY: &str = "/dev/shm";
/// Where cluster software keeps credentials inside the system's folders.
const ALWAYS_PRIVATE: &[&str] = &["/etc/kubernetes", "/etc/rancher"];
/// The files that a process may have open.
const OPEN_FILES: u64 = 65_536;
/// The least memory to which a single process is held, in bytes: our own need that much.
const LEAST_DATA: u64 = 256 * 1024 * 1024;
/// The port by which clouds tell a machine its credentials; what is served in the open otherwise is little.
const PLAIN_HTTP: u16 = 80;
/// How much an agent stands back when others want the processor.
const NICENESS: i32 = 10;
/// The newest kernel interface whose rights are asked for; what a kernel does not know is left out.
const NEWEST: ABI = ABI::V10;

/// What a process may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grants {
    /// Files and folders to read and execute.
    pub(super) readable: Vec<PathBuf>,
    /// Folders whose names may be listed, their own and those below, because something in them is closed.
    pub(super) listed: Vec<PathBuf>,
    /// Folders to do everything in.
    pub(super) writable: Vec<PathBuf>,
    /// Links through which these are also found, with what they say.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

impl Grants {
    /// Returns what a run may touch whose own folders are `writable`, whose programs are looked up in `search_path`
    /// and include `programs`.
    pub(super) fn of(
        sandbox: &Sandbox,
        search_path: &str,
        programs: &[PathBuf],
        writable: Vec<PathBuf>,
    ) -> Self {
        let named: Vec<PathBuf> = sandbox.private.iter().map(|path| resolve(path)).collect();
        let private: Vec<PathBuf> =
            ALWAYS_PRIVATE.iter().map(PathBuf::from).chain(named.iter().cloned()).collect();
        let mut grants = Self { writable, ..Self::default() };
        let mut closed = private.clone();
        if rustix::process::getuid().is_root() {
            closed.extend(OF_ROOT.iter().map(PathBuf::from));
            for path in SYSTEM_WITH_SECRETS {
                closed.extend(closed_to_others(Path::new(path)));
            }
        }
        for path in SYSTEM {
            grants.allow_from(Path::new(path), &closed);
        }
        // The names in what the plan names may tell something as well.
        grants.listed.retain(|folder| !named.iter().any(|path| path.starts_with(folder)));
        // Programs are often installed in the home folder, which is private, and what is named is meant: here only what lies
        // inside counts.
        let is_below_root = |folder: &PathBuf| {
            folder.canonicalize().is_ok_and(|folder| {
                folder.components().any(|component| matches!(component, Component::Normal(_)))
            })
        };
        let on_path: Vec<PathBuf> = std::env::split_paths(search_path).collect();
        let installations = programs.iter().filter_map(|program| installation(program, &on_path));
        let folders = on_path
            .iter()
            .cloned()
            .chain(installations)
            .chain(sandbox.readable.iter().cloned())
            .filter(|folder| folder.is_absolute())
            .filter(is_below_root);
        for folder in folders {
            let inside: Vec<PathBuf> =
                private.iter().filter(|path| path.starts_with(resolve(&folder))).cloned().collect();
            grants.allow_from(&folder, &inside);
        }
        for program in programs {
            grants.readable.extend(program.canonicalize());
            grants.links.extend(links_on_the_way(program));
        }
        grants.readable.sort();
        grants.readable.dedup();
        grants
    }

    fn allow_from(&mut self, path: &Path, private: &[PathBuf]) {
        if let Ok(root) = path.canonicalize() {
            self.links.extend(links_on_the_way(path));
            self.allow(&root, private);
        }
    }

    fn allow(&mut self, root: &Path, private: &[PathBuf]) {
        if private.iter().any(|path| root.starts_with(path)) {
            return;
        }
        if !private.iter().any(|path| path.starts_with(root)) {
            self.readable.push(root.to_path_buf());
            return;
        }
        let Ok(entries) = fs::read_dir(root) else { return };
        self.listed.push(root.to_path_buf());
        for entry in entries.filter_map(Result::ok) {
            // A link is not followed: what it points to is allowed where it lies, or it is not.
            match fs::read_link(entry.path()) {
                Ok(target) => self.links.push((entry.path(), target)),
                Err(_) => self.allow(&entry.path(), private),
            }
        }
    }

    /// Adds what reading from and pushing to a repository of this machine needs.
    ///
    /// Its objects and references can be written, its settings and hooks cannot: those are run by others.
    pub(super) fn allow_pushes(&mut self, repository: &Path) {
        let nested = repository.join(".git");
        let folder = if nested.is_dir() { nested } else { repository.to_path_buf() };
        if !folder.join("objects").is_dir() || !folder.join("HEAD").is_file() {
            return;
        }
        self.writable.extend(["objects", "refs", "logs"].map(|name| folder.join(name)));
        self.readable.push(folder);
    }
}

/// Restricts this process and everything that it will start, and returns the level that was reached and what holds the
/// network. Levels above `maximum` are not tried.
///
/// Only the calling thread and those it starts later are restricted: call it before there are others.
pub(super) fn restrict(grants: &Grants, sandbox: &Sandbox) -> io::Result<(SandboxLevel, NetworkHold)> {
    rustix::thread::set_no_new_privs(true)?;
    if sandbox.maximum >= SandboxLevel::Files && !capabilities(None)?.effective.is_empty() {
        // Root without them is a user like others, to whom a process can be closed.
        give_capabilities_up()?;
    }
    if sandbox.maximum < SandboxLevel::Files {
        return Ok((SandboxLevel::Limited.min(sandbox.maximum), NetworkHold::Open));
    }
    let read: BitFlags<AccessFs> = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
    let all = AccessFs::from_all(NEWEST);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::Truncate;
    let is_scoped = sandbox.maximum >= SandboxLevel::Isolated;
    let restricted = Ruleset::default()
        .handle_access(all)
        .and_then(|ruleset| if is_scoped { ruleset.scope(Scope::from_all(NEWEST)) } else { Ok(ruleset) })
        .and_then(|ruleset| match sandbox.network {
            Network::Open => Ok(ruleset),
            Network::Guarded => ruleset.handle_access(AccessNet::ConnectTcp),
            Network::Closed => ruleset.handle_access(AccessNet::ConnectTcp | AccessNet::ConnectSendUdp),
        })
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&grants.readable, read)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&grants.listed, AccessFs::ReadDir)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&grants.writable, all)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(DEVICES, device)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules([SHARED_MEMORY], all)))
        .and_then(|ruleset| {
            let ports = (1..=u16::MAX).filter(|port| {
                sandbox.network == Network::Guarded
                    && *port != PLAIN_HTTP
                    && !sandbox.closed_ports.contains(port)
            });
            ruleset.add_rules(ports.map(|port| Ok(NetPort::new(port, AccessNet::ConnectTcp))))
        })
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|fault: landlock::RulesetError| io::Error::other(fault))?;
    let abi = match (restricted.ruleset, restricted.landlock) {
        (RulesetStatus::NotEnforced, _) => ABI::Unsupported,
        (_, LandlockStatus::Available { effective_abi, kernel_abi: _ }) => effective_abi,
        _ => ABI::Unsupported,
    };
    // Ports of TCP are held from version 4 on, and what is sent by UDP from version 10 on.
    let hold = match sandbox.network {
        Network::Guarded if abi >= ABI::V4 => NetworkHold::Ports,
        Network::Closed if abi >= ABI::V10 => NetworkHold::Closed,
        Network::Open | Network::Guarded | Network::Closed => NetworkHold::Open,
    };
    Ok((level(abi).min(sandbox.maximum), hold))
}

// Before version 3 a file could be emptied without a right to write; before 6 signals were not held.
fn level(abi: ABI) -> SandboxLevel {
    match abi {
        ABI::Unsupported | ABI::V1 | ABI::V2 => SandboxLevel::Limited,
        ABI::V3 | ABI::V4 | ABI::V5 => SandboxLevel::Files,
        _ => SandboxLevel::Isolated,
    }
}

/// Gives up every capability, and that any program started later could bring one.
pub(super) fn give_capabilities_up() -> io::Result<()> {
    clear_ambient_capability_set()?;
    for bit in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // The last one that this kernel knows lies before.
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

/// Sets the resource limits of this process and everything that it will start.
///
/// A limit above what the system allows becomes what the system allows.
pub(super) fn limit(limits: &Limits) -> io::Result<()> {
    // The machine and the runner stay responsive, whatever the agent computes. Less than asked for is no fault.
    rustix::process::nice(NICENESS).ok();
    set(Resource::Core, 0)?;
    set(Resource::Nofile, OPEN_FILES)?;
    for (resource, value) in [
        // Not the address space, of which some programs reserve far more than they use. What ends a run is the sum of what
        // its processes use; this only keeps one of them from being faster than that is looked at.
        (Resource::Data, limits.memory_bytes.map(|bytes| bytes.saturating_mul(2).max(LEAST_DATA))),
        (Resource::Fsize, limits.disk_bytes),
        // The kernel counts everything of the user, so what runs already is added.
        (Resource::Nproc, limits.processes.map(|processes| processes.saturating_add(threads_of_user()))),
    ] {
        if let Some(value) = value {
            set(resource, value)?;
        }
    }
    Ok(())
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    let value = getrlimit(resource).maximum.map_or(value, |maximum| value.min(maximum));
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

fn threads_of_user() -> u64 {
    let own = rustix::process::getuid().as_raw();
    tree::all()
        .into_iter()
        .map(|process| PathBuf::from(format!("/proc/{}/task", process.pid)))
        .filter(|tasks| tasks.metadata().is_ok_and(|metadata| metadata.uid() == own))
        .map(|tasks| fs::read_dir(tasks).map_or(0, |entries| entries.count() as u64))
        .sum()
}

fn resolve(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

// What of `root` nobody but its owner and group may read.
fn closed_to_others(root: &Path) -> Vec<PathBuf> {
    let mut closed = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            // Of a link itself, which is not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            let needed = if metadata.is_dir() { 0o005 } else { 0o004 };
            if metadata.is_symlink() {
                continue;
            }
            if metadata.mode() & needed != needed {
                closed.push(entry.path());
            } else if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    closed
}

// What a program needs that is not on the search path: the whole tree of a package of Node, and where a link on the search
// path leads, the folder there. The folder of a program that is named by its path holds whatever its owner has there.
fn installation(program: &Path, on_path: &[PathBuf]) -> Option<PathBuf> {
    let place = program.canonicalize().ok()?;
    let package = place
        .ancestors()
        .filter(|folder| folder.file_name().is_some_and(|name| name == "node_modules"))
        .last();
    let is_installed = program.parent().is_some_and(|folder| on_path.iter().any(|path| path == folder));
    package.or_else(|| place.parent().filter(|_| is_installed)).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_left_out_of_what_is_allowed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["tools/bin", "tools/data/runs", "secret"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("secret"), root.join("tools/link")).unwrap();
        let sandbox = Sandbox {
            readable: vec![root.join("tools"), root.join("secret")],
            private: vec![root.join("tools/data"), root.join("secret")],
            ..Sandbox::default()
        };
        let grants = Grants::of(&sandbox, "", &[], Vec::new());
        let ours: Vec<&PathBuf> = grants.readable.iter().filter(|path| path.starts_with(&root)).collect();
        assert_eq!(ours, [&root.join("tools/bin")]);
    }

    #[test]
    fn programs_in_a_private_home_are_allowed_and_the_home_is_not() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let package = home.join("lib/node_modules/agent/cli.js");
        fs::create_dir_all(home.join("bin")).unwrap();
        fs::create_dir_all(package.parent().unwrap()).unwrap();
        fs::write(&package, "").unwrap();
        std::os::unix::fs::symlink(&package, home.join("bin/agent")).unwrap();
        let sandbox = Sandbox { private: vec![home.clone()], ..Sandbox::default() };
        let search_path = format!("{}:{}:relative:/", home.join("bin").display(), home.display());
        let grants = Grants::of(&sandbox, &search_path, &[home.join("bin/agent")], Vec::new());
        let ours: Vec<&PathBuf> = grants.readable.iter().filter(|path| path.starts_with(&home)).collect();
        assert_eq!(ours, [&home.join("bin"), &home.join("lib/node_modules"), &package]);
        assert!(!grants.readable.contains(&PathBuf::from("/")));
    }

    #[test]
    fn a_program_that_is_named_is_allowed_and_what_lies_beside_it_is_not() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let sandbox = Sandbox { private: vec![home.clone()], ..Sandbox::default() };
        for (folder, search_path, is_folder_allowed) in
            [("", "", false), ("project", "", false), ("versions/7", "bin", true)]
        {
            let place = home.join(folder);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("agent"), "").unwrap();
            let named = if search_path.is_empty() {
                place.join("agent")
            } else {
                let link = home.join(search_path).join("agent");
                fs::create_dir_all(home.join(search_path)).unwrap();
                std::os::unix::fs::symlink(place.join("agent"), &link).unwrap();
                link
            };
            let search_path = home.join(search_path).display().to_string();
            let grants = Grants::of(&sandbox, &search_path, &[named], Vec::new());
            assert!(grants.readable.contains(&place.join("agent")), "{folder}");
            assert_eq!(grants.readable.contains(&place), is_folder_allowed, "{folder}");
            assert!(!grants.readable.contains(&home), "{folder}");
        }
    }

    #[test]
    fn what_is_closed_to_others_is_found_and_no_link_is_followed() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for folder in ["ssl/private", "ssl/certs", "names"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["passwd", "shadow", "ssl/private/key", "ssl/certs/one", "ssl/certs/own"] {
            fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(root.join("shadow"), root.join("ssl/link")).unwrap();
        let set = |path: &str, mode| {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        for open in ["passwd", "ssl/certs/one", "ssl/private/key"] {
            set(open, 0o644);
        }
        for folder in ["ssl", "ssl/certs"] {
            set(folder, 0o755);
        }
        set("shadow", 0o640);
        set("ssl/private", 0o710);
        set("ssl/certs/own", 0o600);
        set("names", 0o711);
        let mut closed = closed_to_others(root);
        closed.sort();
        let expected = ["names", "shadow", "ssl/certs/own", "ssl/private"].map(|path| root.join(path));
        assert_eq!(closed, expected);
    }
}
