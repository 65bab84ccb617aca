//! Names of files.

use std::path::Path;

/// The folder that a file is in; for a name alone the working directory.
pub fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
