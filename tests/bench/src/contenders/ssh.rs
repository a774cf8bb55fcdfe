//! How `ssh -R` is started: an own sshd on an own port with own keys. It always encrypts.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Contender, Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let host_key = place.directory.join("host_key");
    let user_key = place.directory.join("user_key");
    make_key(programs, &host_key)?;
    make_key(programs, &user_key)?;
    // sshd reads this file after it has changed to the user's home directory.
    let directory =
        place.directory.canonicalize().context("finding the directory of sshd's files")?;
    let config = directory.join("sshd_config");
    let text = format!(
        "ListenAddress {control}\nHostKey {directory}/host_key\n\
         AuthorizedKeysFile {directory}/user_key.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\n",
        control = place.control,
        directory = directory.display(),
    );
    fs::write(&config, text).context("writing sshd_config")?;
    make_separation_directory()?;

    let mut server = programs.command(Contender::Ssh, "sshd")?;
    server.args(["-D", "-e", "-f"]).arg(&config);
    let mut client = programs.command(Contender::Ssh, "ssh")?;
    client
        .args(["-N", "-T", "-F", "none", "-i"])
        .arg(&user_key)
        .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "ExitOnForwardFailure=yes"])
        .args(["-p", &place.reach.port().to_string()])
        .args(["-R", &format!("{}:{}", place.public, place.local)])
        .args(["-l", &user_name()?])
        .arg(place.reach.ip().to_string());
    Ok(Recipe { server, client: Some(client) })
}

fn make_key(programs: &Programs, file: &Path) -> Result<()> {
    let made = programs
        .command(Contender::Ssh, "ssh-keygen")?
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(file)
        .output()
        .context("starting ssh-keygen")?;
    ensure!(made.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
    Ok(())
}

/// sshd as root wants a directory that its service file makes at boot; where no service runs, as in
/// a container, it may be missing. A sshd of an ordinary user does without.
fn make_separation_directory() -> Result<()> {
    if user_name()? == "root" && Path::new("/run").is_dir() {
        fs::create_dir_all("/run/sshd").context("making /run/sshd for sshd")?;
    }
    Ok(())
}

fn user_name() -> Result<String> {
    let home = env::home_dir().context("no home directory")?;
    if let Ok(user) = env::var("USER").or_else(|_| env::var("LOGNAME")) {
        return Ok(user);
    }
    let name = home.file_name().and_then(|name| name.to_str()).context("no user name")?;
    Ok(name.to_owned())
}
