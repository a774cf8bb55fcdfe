//! A real name server, Knot from Debian's package, that is in charge of a few zones. BIND would
//! only listen at addresses that an interface has by name, and so at none of the test's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use parking_lot::Mutex;
use tokio::process::{Child, Command};

use crate::files::Folder;
use crate::process::{kill, own_host};
use crate::wait::{eventually, within};

/// The port: the address is the test's own.
const PORT: u16 = 5353;

/// The zones that it is in charge of: of the relay, and of somebody else.
const ZONES: [&str; 2] = ["tunnel.test", "example.test"];

/// What its key is called.
const KEY: &str = "relay-key";

/// The secret of the key, which must not be seen anywhere.
const SECRET: &str = "b25seS1mb3ItdGhpcy10ZXN0LW9ubHktZm9yLXRoaXM=";

/// A name server of its own for one test, which goes with it. Nobody may remember its answers.
#[derive(Debug)]
pub struct NameServer {
    folder: Folder,
    host: Ipv4Addr,
    server: Mutex<Option<Child>>,
}

impl NameServer {
    /// A name server in charge of `tunnel.test` and `example.test`, with nothing in them. Changes
    /// are taken that are signed with its key.
    ///
    /// # Panics
    ///
    /// It is not installed (see tests/programs), or does not start.
    pub async fn start() -> Self {
        let folder = Folder::new();
        let host = own_host();
        let home = folder.path().display();
        let mut config = format!(
            "server:\n  rundir: {home}\n  listen: {host}@{PORT}\n  tcp-workers: 1\n  \
             udp-workers: 1\n  background-workers: 1\nlog:\n  - target: stderr\n    any: info\n\
             database:\n  storage: {home}\nkey:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    \
             secret: {SECRET}\nacl:\n  - id: changes\n    key: {KEY}\n    action: update\n\
             template:\n  - id: default\n    storage: {home}\n    file: \"%s.zone\"\n    \
             acl: changes\nzone:\n"
        );
        for zone in ZONES {
            folder.write(
                &format!("{zone}.zone"),
                &format!(
                    "$TTL 0\n@ IN SOA ns.{zone}. root.{zone}. 1 60 60 60 0\n@ IN NS ns.{zone}.\n\
                     ns IN A {host}\n"
                ),
            );
            config.push_str(&format!("  - domain: {zone}\n"));
        }
        folder.write("knot.conf", &config);
        folder.write("key", &key(KEY, SECRET));
        folder.write("wrong-secret", &key(KEY, &SECRET.replace("b25", "c25")));
        folder.write("unknown-key", &format!("another-key:hmac-sha256:{SECRET}\n"));
        let server = Self { folder, host, server: Mutex::default() };
        server.start_again().await;
        server
    }

    /// Where it answers.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host.into(), PORT)
    }

    /// The file with its key, as BIND has it.
    pub fn key_file(&self) -> PathBuf {
        self.folder.file("key")
    }

    /// A file with a key of the same name that has another secret.
    pub fn wrong_key_file(&self) -> PathBuf {
        self.folder.file("wrong-secret")
    }

    /// A file with a key that it does not know, in a line.
    pub fn unknown_key_file(&self) -> PathBuf {
        self.folder.file("unknown-key")
    }

    /// A program that makes records there, and takes them away, as a relay has it done. It takes
    /// down in a file what it was told.
    pub fn hook(&self) -> PathBuf {
        let (home, host) = (self.folder.path().display(), self.host);
        let script = format!(
            "#!/bin/bash
set -e -o pipefail
printf '%s\\n' \"$*\" >>{home}/hooked
value=$4
[ \"$3\" != TXT ] || value=\"\\\"$4\\\"\"
[ \"$1\" = add ] && change=\"add $2 0\" || change=\"delete $2\"
printf 'server %s %s\\n%s %s %s\\nsend\\n' {host} {PORT} \"$change\" \"$3\" \"$value\" |
    nsupdate -v -k {home}/key
"
        );
        self.folder.program("hook", &script)
    }

    /// What that program was told so far.
    pub fn hooked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.file("hooked")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The secret of its key, for whoever looks where it should not be.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Puts a record in place, as whoever is in charge of the zone does, such as `app.example.test
    /// CNAME a.tunnel.test.`.
    pub async fn add(&self, record: &str) {
        let (name, rest) = record.split_once(' ').expect("a name and what it has");
        self.update(&format!("add {name} 0 {rest}")).await;
    }

    /// Takes away all records that a name has of a kind.
    pub async fn remove(&self, name: &str, kind: &str) {
        self.update(&format!("delete {name} {kind}")).await;
    }

    /// What a name has, as text, in order.
    pub async fn look_up(&self, name: &str, kind: RecordType) -> Vec<String> {
        let mut connection = ConnectionConfig::udp();
        connection.port = PORT;
        let server = NameServerConfig::new(self.host.into(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = ResolverOpts::default();
        let resolver = builder.build().expect("a resolver");
        match within("an answer", resolver.lookup(format!("{name}."), kind)).await {
            Ok(found) => {
                let mut found: Vec<_> =
                    found.answers().iter().map(|record| record.data.to_string()).collect();
                found.sort();
                found
            }
            Err(err) if err.is_no_records_found() => Vec::new(),
            Err(err) => panic!("{name}: {err}"),
        }
    }

    /// Ends it from one moment to the next.
    pub async fn stop(&self) {
        let server = self.server.lock().take();
        if let Some(mut server) = server {
            server.kill().await.expect("a process");
        }
    }

    /// Starts it once more, with what it holds.
    pub async fn start_again(&self) {
        let mut command = Command::new("/usr/sbin/knotd");
        command.arg("-c").arg(self.folder.file("knot.conf"));
        let log = fs::File::create(self.folder.file("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        *self.server.lock() = Some(command.spawn().expect("knotd: apt-get install knot"));
        eventually("the name server to be ready", async || {
            let log = fs::read_to_string(self.folder.file("log")).unwrap_or_default();
            assert!(!log.contains(" error: "), "{log}");
            log.contains("server started") && log.matches("loaded, serial").count() == ZONES.len()
        })
        .await;
    }

    async fn update(&self, change: &str) {
        let script = format!("server {} {PORT}\n{change}\nsend\n", self.host);
        let file = self.folder.write("change", &script);
        let mut command = Command::new("nsupdate");
        command.arg("-v").arg("-k").arg(self.key_file()).arg(file).kill_on_drop(true);
        let done = within("nsupdate", command.output()).await;
        let done = done.expect("nsupdate: apt-get install bind9-dnsutils");
        assert!(done.status.success(), "{change}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.server.get_mut().iter_mut().for_each(kill);
    }
}

/// A key as BIND has it.
fn key(name: &str, secret: &str) -> String {
    format!("key \"{name}\" {{\n  algorithm hmac-sha256;\n  secret \"{secret}\";\n}};\n")
}
