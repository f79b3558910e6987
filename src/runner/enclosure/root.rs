//! The file system of an enclosure: what is granted, at its own place, and nothing else.
//!
//! A new root is built from mounts of what is granted; the old one is let go. What is not granted is then not forbidden but
//! absent, sockets with a path among it, and what is readable is read-only. Links on the way to what is granted are made again,
//! so that programs are found under every name that they had.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use crate::runner::sandbox::{DEVICES, Grants};

/// Links that are followed on the way to one path, as the kernel follows no more.
const MOST_LINKS: usize = 40;
/// What a run may put into shared memory, which is memory.
const SHARED_MEMORY: &std::ffi::CStr = c"mode=1777,size=1g";

/// What was attempted, and why it failed.
pub(super) type Attempt<T> = Result<T, (String, io::Error)>;

fn attempt<T>(what: impl FnOnce() -> String, result: Result<T, impl Into<io::Error>>) -> Attempt<T> {
    result.map_err(|fault| (what(), fault.into()))
}

/// Enters a root that holds what `grants` says, built on the empty folder `base`. `temporary` lies at `/tmp` as well.
///
/// The calling process must be the first of its own process namespace and rule its own mount namespace.
pub(super) fn enter(base: &Path, grants: &Grants, temporary: &Path) -> Attempt<()> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    attempt(|| "keep mounts to itself".to_owned(), mount_change("/", slave))?;
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    attempt(|| "mount a root".to_owned(), mount("tmpfs", base, "tmpfs", quiet, c"mode=0755"))?;
    let mut made = BTreeMap::new();
    let temporaries = ["/tmp", "/var/tmp"].map(|place| (PathBuf::from(place), temporary.to_path_buf()));
    for (place, source) in temporaries {
        bind(base, &place, &source)?;
        made.insert(place, true);
    }
    let readable = grants.readable.iter().map(|path| (path, false));
    let writable = grants.writable.iter().map(|path| (path, true));
    let all: BTreeMap<&PathBuf, bool> = readable.chain(writable).collect();
    for (path, is_writable) in all {
        let is_in_proc_or_dev = path.starts_with("/proc") || path.starts_with("/dev");
        let is_covered = path.ancestors().skip(1).any(|parent| made.get(parent) == Some(&is_writable))
            && !path.starts_with("/tmp")
            && !path.starts_with("/var/tmp");
        if is_in_proc_or_dev || is_covered || path.symlink_metadata().is_err() {
            continue;
        }
        bind(base, path, path)?;
        made.insert(path.clone(), is_writable);
    }
    for (place, target) in &grants.links {
        link(base, place, target)?;
    }
    devices(base)?;
    let no_programs = quiet | MountFlags::NOEXEC;
    let proc = inside(base, Path::new("/proc"));
    attempt(|| "make /proc".to_owned(), fs::create_dir_all(&proc))?;
    attempt(|| "mount /proc".to_owned(), mount("proc", &proc, "proc", no_programs, None))?;

    attempt(|| "enter the root".to_owned(), std::env::set_current_dir(base))?;
    attempt(|| "change the root".to_owned(), rustix::process::pivot_root(".", "."))?;
    attempt(|| "let the old root go".to_owned(), unmount(".", UnmountFlags::DETACH))?;
    attempt(|| "enter the root".to_owned(), std::env::set_current_dir("/"))?;
    make_read_only(&made)
}

/// Makes what the whole machine has in `/proc` read-only; what processes have of their own there stays as it is.
///
/// The kernel lets whoever is root outside write settings of the machine there, such as which program a crash starts, and
/// asks for no capability. Once this stands, the kernel refuses another `/proc` to whoever makes namespaces inside.
pub(super) fn close_machine() -> Attempt<()> {
    let entries = attempt(|| "list /proc".to_owned(), fs::read_dir("/proc"))?;
    for entry in entries.filter_map(Result::ok) {
        let is_of_a_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        let Ok(metadata) = entry.metadata() else { continue };
        let can_be_written = metadata.is_dir() || metadata.permissions().mode() & 0o222 != 0;
        if is_of_a_process || metadata.is_symlink() || !can_be_written {
            continue;
        }
        let place = entry.path();
        let what = || format!("make {} read-only", place.display());
        let flags = MountFlags::BIND
            | MountFlags::RDONLY
            | MountFlags::NOSUID
            | MountFlags::NODEV
            | MountFlags::NOEXEC;
        attempt(what, mount_bind_recursive(&place, &place))?;
        attempt(what, mount_remount(&place, flags, c""))?;
    }
    Ok(())
}

fn inside(base: &Path, path: &Path) -> PathBuf {
    base.join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(base: &Path, place: &Path, source: &Path) -> Attempt<()> {
    let what = || format!("mount {}", place.display());
    let target = inside(base, place);
    if target.symlink_metadata().is_err() {
        let is_folder = attempt(what, source.metadata())?.is_dir();
        let folder = if is_folder { Some(target.as_path()) } else { target.parent() };
        attempt(what, fs::create_dir_all(folder.unwrap_or(base)))?;
        if !is_folder {
            attempt(what, fs::File::create(&target))?;
        }
    }
    attempt(what, mount_bind_recursive(source, &target))
}

fn link(base: &Path, place: &Path, target: &Path) -> Attempt<()> {
    let what = || format!("make the link {}", place.display());
    let place = inside(base, place);
    if place.symlink_metadata().is_ok() {
        return Ok(());
    }
    attempt(what, fs::create_dir_all(place.parent().unwrap_or(base)))?;
    attempt(what, symlink(target, &place))
}

fn devices(base: &Path) -> Attempt<()> {
    let what = || "make the devices".to_owned();
    let folder = inside(base, Path::new("/dev"));
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    attempt(what, fs::create_dir_all(&folder))?;
    attempt(what, mount("tmpfs", &folder, "tmpfs", quiet, c"mode=0755"))?;
    for device in DEVICES.iter().map(Path::new).filter(|device| {
        use std::os::unix::fs::FileTypeExt as _;
        device.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device())
    }) {
        bind(base, device, device)?;
    }
    attempt(what, symlink("pts/ptmx", folder.join("ptmx")))?;
    for (name, options) in [("pts", None), ("shm", Some(SHARED_MEMORY))] {
        let place = folder.join(name);
        attempt(what, fs::create_dir(&place))?;
        let mounted = match options {
            Some(options) => mount("tmpfs", &place, "tmpfs", quiet | MountFlags::NODEV, options),
            None => mount("devpts", &place, "devpts", quiet, c"newinstance,ptmxmode=0666,mode=0620"),
        };
        attempt(|| format!("mount /dev/{name}"), mounted)?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        attempt(what, symlink(format!("/proc/self/fd{target}"), folder.join(name)))?;
    }
    Ok(())
}

// Every mount is looked at, those that came along with another as well.
fn make_read_only(made: &BTreeMap<PathBuf, bool>) -> Attempt<()> {
    let table = attempt(|| "list the mounts".to_owned(), fs::read_to_string("/proc/self/mountinfo"))?;
    for (place, options) in table.lines().filter_map(mount_of) {
        let is_ours = place.starts_with("/proc") || (place.starts_with("/dev") && place != Path::new("/dev"));
        let is_writable = place.ancestors().find_map(|path| made.get(path)).copied().unwrap_or(false);
        // One that is read-only already may belong to somebody who lets nobody change it.
        let is_read_only = options.split(',').any(|option| option == "ro");
        if is_ours || is_writable || is_read_only {
            continue;
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | kept_flags(&options);
        attempt(|| format!("make {} read-only", place.display()), mount_remount(&place, flags, c""))?;
    }
    Ok(())
}

// The place and the options of one line of proc_pid_mountinfo(5).
fn mount_of(line: &str) -> Option<(PathBuf, String)> {
    let mut fields = line.split(' ').skip(4);
    let (place, options) = (fields.next()?, fields.next()?);
    Some((PathBuf::from(unescape(place)), options.to_owned()))
}

// A blank, a tab, a line end and a backslash are written as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
}

// Flags of a mount that we did not make may not be taken away.
fn kept_flags(options: &str) -> MountFlags {
    let known = [
        ("nosuid", MountFlags::NOSUID),
        ("nodev", MountFlags::NODEV),
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
        ("nosymfollow", MountFlags::NOSYMFOLLOW),
    ];
    let words: Vec<&str> = options.split(',').collect();
    known
        .iter()
        .filter(|(word, _)| words.contains(word))
        .fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// Returns the links on the way to `path`, each with what it says.
pub(in crate::runner) fn links_on_the_way(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    let mut at = PathBuf::from("/");
    let mut left: Vec<PathBuf> = components(path);
    while let Some(name) = left.pop() {
        if name == Path::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let Ok(target) = fs::read_link(&next) else {
            at = next;
            continue;
        };
        if found.len() >= MOST_LINKS {
            return found;
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(components(&target));
        found.push((next, target));
    }
    found
}

// Last component first.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| PathBuf::from(component.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_the_way_are_found_through_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("versions/1/bin")).unwrap();
        symlink("versions/1", root.join("current")).unwrap();
        symlink(root.join("current/bin"), root.join("bin")).unwrap();
        symlink("../loop", root.join("versions/loop")).unwrap();
        symlink("versions/loop", root.join("loop")).unwrap();
        let found = links_on_the_way(&root.join("bin/agent"));
        assert_eq!(
            found,
            [
                (root.join("bin"), root.join("current/bin")),
                (root.join("current"), PathBuf::from("versions/1")),
            ]
        );
        assert!(links_on_the_way(&root.join("loop")).len() <= MOST_LINKS);
        assert!(links_on_the_way(&root.join("versions/1/nothing")).is_empty());
    }

    #[test]
    fn a_line_of_the_mounts_is_read() {
        let line =
            "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime,nosuid master:1 - ext3 /dev/root rw,errors=continue";
        let (place, options) = mount_of(line).unwrap();
        assert_eq!(place, Path::new("/mnt 2"));
        assert_eq!(kept_flags(&options), MountFlags::NOATIME | MountFlags::NOSUID);
        assert_eq!(mount_of("36 35"), None);
    }
}
