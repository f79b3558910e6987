//! Removes what a killed process left in our copies of repositories.
//!
//! Locks are files that a process removes when it ends in order. One that was killed leaves them, and every later
//! fetch would be refused for ever; and it leaves the files with its keys. Whoever calls this owns the folder alone and has begun nothing in it yet.

use std::fs;
use std::io;
use std::path::Path;

use crate::git::private_file::PrivateFile;

/// Deepest folder that is looked into: `objects/pack` and `refs/heads/a/b` are less deep.
const DEPTH: usize = 8;

/// Removes lock files and unfinished packs below `folder`; a folder that is not there holds none.
///
/// # Errors
/// When a folder cannot be listed or a file not be removed.
pub fn remove(folder: &Path) -> io::Result<()> {
    remove_below(folder, DEPTH)
}

fn remove_below(folder: &Path, depth: usize) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // The kind of a link is that of the link itself: none is followed.
        if entry.file_type()?.is_dir() {
            if depth > 0 {
                remove_below(&entry.path(), depth - 1)?;
            }
        } else if is_leftover(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A reference cannot have a name that ends in `.lock`, and git gives no object and no pack such a name.
fn is_leftover(name: &str) -> bool {
    PrivateFile::is_name(name)
        || name.rsplit_once('.').is_some_and(|(_, ending)| ending == "lock")
        || name.starts_with("tmp_")
        || name.starts_with(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_go_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("absent")).unwrap();
        let pack = folder.path().join("a.git/objects/pack");
        let heads = folder.path().join("a.git/refs/heads");
        fs::create_dir_all(&pack).unwrap();
        fs::create_dir_all(&heads).unwrap();
        let kept = [folder.path().join("a.git/shallow"), pack.join("pack-1.pack"), heads.join("main")];
        let gone = [
            folder.path().join("a.git/shallow.lock"),
            pack.join("tmp_pack_x"),
            pack.join(".tmpAbC"),
            folder.path().join("a.git/private-ssh-key-7-1"),
            heads.join("main.lock"),
        ];
        for path in kept.iter().chain(&gone) {
            fs::write(path, "").unwrap();
        }
        remove(folder.path()).unwrap();
        assert!(kept.iter().all(|path| path.exists()));
        assert!(gone.iter().all(|path| !path.exists()));
    }
}
