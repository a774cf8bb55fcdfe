//! To whom a folder belongs, and who else can change what is in it.

use std::fs::Metadata;

/// The number of the user that may do anything.
pub const ROOT: u32 = 0;

/// Whether others than the owner can write to it.
#[cfg(unix)]
pub fn others_can_write(found: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    found.permissions().mode() & 0o022 != 0
}

/// Elsewhere a folder has the rights of the one above it.
#[cfg(not(unix))]
pub fn others_can_write(_: &Metadata) -> bool {
    false
}

/// The user that this process runs as, and the one to whom the folder belongs. `None`: it cannot be
/// told.
#[cfg(unix)]
pub fn owners(folder: &Metadata) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self").ok()?;
    Some((own.uid(), folder.uid()))
}

/// Elsewhere a folder has the rights of the one above it.
#[cfg(not(unix))]
pub fn owners(_: &Metadata) -> Option<(u32, u32)> {
    None
}

/// Whether the folder's owner is neither this user nor root: they can change whatever is in it. Root
/// itself sees to files of programs that run as somebody else, and has to trust those.
pub fn cannot_trust(own: u32, owner: u32) -> bool {
    own != ROOT && ![own, ROOT].contains(&owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_user_is_not_trusted_but_by_root() {
        assert!(cannot_trust(1000, 1001));
        for (own, owner) in [(1000, 1000), (1000, ROOT), (ROOT, 1000)] {
            assert!(!cannot_trust(own, owner), "{own} {owner}");
        }
    }
}
