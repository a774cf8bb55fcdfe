//! `relay ban list` and `relay ban lift`: asks the relay that runs on this machine, at its admin
//! port.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use serde_json::Value;
use shared::kit::args;
use shared::kit::net::HostPort;

/// How long the relay may take for each step. It answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read: all bans that there can be.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What to do with bans.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Ban {
    /// Show who is banned, and for how much longer
    List,
    /// Lift the ban of an address, or of its network
    Lift {
        /// The address
        ip: IpAddr,
    },
}

impl Ban {
    /// Asks the relay whose admin port is `admin`. Returns what to print.
    ///
    /// # Errors
    ///
    /// There is no relay, or it says no.
    pub fn ask(self, admin: &HostPort) -> anyhow::Result<String> {
        match self {
            Self::List => {
                let (status, body) = request(admin, "GET", "/bans")?;
                if status != 200 {
                    bail!("the relay answers with {status}: {}", body.trim());
                }
                list(&body)
            }
            Self::Lift { ip } => {
                let (status, body) = request(admin, "DELETE", &format!("/bans/{ip}"))?;
                if status == 200 { Ok(body) } else { Err(anyhow!("{}", body.trim().to_owned())) }
            }
        }
    }
}

/// The bans as lines: who, and for how much longer.
fn list(json: &str) -> anyhow::Result<String> {
    let bans: Vec<Value> = serde_json::from_str(json).context("that is no relay's answer")?;
    let lines = bans.iter().map(|ban| {
        let source = ban["source"].as_str().context("that is no relay's answer")?;
        let left = args::time(Duration::from_secs(ban["seconds_left"].as_u64().unwrap_or(0)));
        Ok(format!("{source} {left}\n"))
    });
    lines.collect()
}

/// The status and the body of what the relay answers.
fn request(admin: &HostPort, method: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = exchange(admin, method, path);
    let answer = answer.with_context(|| {
        format!("cannot ask the relay at {admin}: does it run there? see --admin")
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").context("that is no relay's answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("that is no relay's answer")?, body.to_owned()))
}

fn exchange(admin: &HostPort, method: &str, path: &str) -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in admin.or_host("127.0.0.1").to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut socket) => {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
                );
                socket.write_all(request.as_bytes())?;
                let mut answer = String::new();
                socket.take(LONGEST).read_to_string(&mut answer)?;
                return Ok(answer);
            }
            Err(err) => last = err,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_are_listed_a_line_each() {
        let json = r#"[{"source":"1.2.3.4","seconds_left":61},
                       {"source":"2001:db8::/64","seconds_left":5}]"#;
        assert_eq!(list(json).unwrap(), "1.2.3.4 1m1s\n2001:db8::/64 5s\n");
        assert_eq!(list("[]").unwrap(), "");
        assert!(list("<html>").is_err());
    }
}
