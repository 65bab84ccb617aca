//! Whose the files of a database are: what was made by root, in the volume of an older container say, is not the service's to write.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use transcription_common::files::folder_of;

use crate::database::beside;

/// What SQLite and we put beside a database.
const COMPANIONS: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", ".use.lock"];
/// On a folder in which everybody may write, but nobody may remove what is another's.
const STICKY: u32 = 0o1000;

/// What to do about a database that may not be written since it is another user's: a line for a shell. Nothing if it is the service's own.
pub fn remedy(database: &Path) -> Option<String> {
    // Its owner is the user that this process runs as.
    let own = fs::metadata("/proc/self").ok()?;
    let (user, group) = (own.uid(), own.gid());
    let database = std::path::absolute(database).ok()?;
    let companions = COMPANIONS.map(|suffix| beside(&database, suffix));
    let files = [folder_of(&database).to_owned(), database]
        .into_iter()
        .chain(companions);
    let anothers = files.filter(|file| is_anothers(file, user));
    let anothers = anothers.map(|file| quoted(&file)).collect::<Vec<_>>();
    if anothers.is_empty() {
        return None;
    }
    Some(format!(
        "it belongs to another user than {user}, which the service runs as; as root: chown {user}:{group} {}",
        anothers.join(" ")
    ))
}

/// Whether it is there and another's, and no folder that is everybody's.
fn is_anothers(file: &Path, user: u32) -> bool {
    let is_root = file.parent().is_none();
    fs::metadata(file)
        .is_ok_and(|of_file| of_file.uid() != user && of_file.mode() & STICKY == 0 && !is_root)
}

/// As a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if path.bytes().all(plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(
            quoted(Path::new("/app/data/auth.db-wal")),
            "/app/data/auth.db-wal"
        );
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn what_is_the_services_own_is_not_in_the_way_and_the_root_of_all_is_given_to_nobody() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("auth.db"), "").unwrap();
        assert_eq!(remedy(&folder.path().join("auth.db")), None);
        for everybodys in ["/", "/tmp"] {
            assert!(
                !is_anothers(Path::new(everybodys), u32::MAX),
                "{everybodys}"
            );
        }
        assert!(is_anothers(folder.path(), u32::MAX));
    }
}
