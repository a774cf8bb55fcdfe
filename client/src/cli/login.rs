//! Tokens that are stored, one for each relay, where only their user reads them.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use shared::kit::net::HostPort;
use shared::token::Secret;

use super::load::configuration_folder;

/// The longest input that is read, in bytes: more than any secret has.
const LONGEST: u64 = 16 * 1024;

/// Where the token of a relay is, the first that is there: what systemd hands to the service
/// (`LoadCredential=token:FILE`), or what [`login`] has stored.
pub(super) fn stored(server: &HostPort) -> Vec<PathBuf> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let from_systemd = credentials.map(|folder| folder.join("token"));
    from_systemd.into_iter().chain(path(server)).collect()
}

/// Asks for the token of a relay and stores it.
pub(super) fn login(server: &HostPort) -> Result<(), String> {
    let text = ask(server).map_err(|err| format!("cannot read the token: {err}"))?;
    let _secret: Secret = text.parse().map_err(|err| format!("the token is not good: {err}"))?;
    let path = path(server).ok_or(NO_HOME)?;
    store(&path, text.trim()).map_err(|err| format!("cannot write {}: {err}", path.display()))?;
    say(&format!("stored in {}", path.display()));
    Ok(())
}

/// Forgets the token of a relay.
pub(super) fn logout(server: &HostPort) -> Result<(), String> {
    let path = path(server).ok_or(NO_HOME)?;
    match fs::remove_file(&path) {
        Ok(()) => say(&format!("removed {}", path.display())),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            say(&format!("there is no token for {server}"));
        }
        Err(err) => return Err(format!("cannot remove {}: {err}", path.display())),
    }
    Ok(())
}

const NO_HOME: &str = "there is no place for it: HOME and XDG_CONFIG_HOME are not set";

/// A host has no character in its name that a file cannot have, except for the colons of IPv6.
fn path(server: &HostPort) -> Option<PathBuf> {
    let name = format!("{}_{}", server.host.as_deref()?.replace(':', "_"), server.port);
    Some(configuration_folder()?.join("tokens").join(name))
}

/// From a person without showing it, or from whatever standard input is.
fn ask(server: &HostPort) -> io::Result<String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("Token for {server}: "));
    }
    let mut text = String::new();
    io::stdin().take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Whoever looks sees the old token or the new one, and nobody but the user sees either.
fn store(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
    private(fs::DirBuilder::new().recursive(true)).create(folder)?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = private(fs::OpenOptions::new().write(true).create_new(true)).open(&new)?;
    let written = file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// What is made can be read by its user alone.
fn private<T: Private>(options: &mut T) -> &mut T {
    options.private();
    options
}

trait Private {
    fn private(&mut self);
}

#[cfg(unix)]
impl Private for fs::DirBuilder {
    fn private(&mut self) {
        std::os::unix::fs::DirBuilderExt::mode(self, 0o700);
    }
}

#[cfg(unix)]
impl Private for fs::OpenOptions {
    fn private(&mut self) {
        std::os::unix::fs::OpenOptionsExt::mode(self, 0o600);
    }
}

/// A user's folder is the user's there.
#[cfg(not(unix))]
impl<T> Private for T {
    fn private(&mut self) {}
}

/// To stderr: stdout is for data.
fn say(what: &str) {
    drop(writeln!(io::stderr(), "{what}"));
}
