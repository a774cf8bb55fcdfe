//! A real PostgreSQL, from Debian's package.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use parking_lot::Mutex;
use tokio::process::{Child, Command};

use crate::authority::Identity;
use crate::files::Folder;
use crate::process::{kill, own_host};
use crate::wait::{eventually, within};

/// What its user is called.
const USER: &str = "sallyport";

/// The user's password, which must not be seen anywhere. Programs have it in `PGPASSWORD`.
pub(crate) const PASSWORD: &str = "only-for-this-test";

/// The port: the address is the test's own.
const PORT: &str = "5432";

/// The user that it runs as, if the test is root: it refuses to be that.
const OWN_USER: &str = "postgres";

/// A server of its own for one test, which goes with it.
#[derive(Debug)]
pub struct Postgres {
    folder: Folder,
    host: Ipv4Addr,
    server: Mutex<Option<Child>>,
}

impl Postgres {
    /// A new server with an empty database.
    ///
    /// # Panics
    ///
    /// It is not installed (see tests/programs), or does not start.
    pub async fn start() -> Self {
        let folder = Folder::new();
        let password = folder.write("password", PASSWORD);
        for path in [folder.path(), &password] {
            hand_over(path);
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a folder");
        let server = Self { folder, host: own_host(), server: Mutex::default() };
        let mut init = server.program("initdb");
        init.args(["-U", USER, "-A", "scram-sha-256", "--no-sync", "--pwfile"]).arg(&password);
        let done = within("initdb", init.arg("-D").arg(server.data()).output()).await;
        let done = done.expect("initdb");
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        server.start_again().await;
        server
    }

    /// Takes connections over TLS alone from now on, and shows this certificate.
    pub async fn require_tls(&self, identity: &Identity) {
        self.stop().await;
        identity.write(&self.folder, "cert.pem", "key.pem");
        for file in ["cert.pem", "key.pem"] {
            let file = self.folder.file(file);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file");
            hand_over(&file);
        }
        let settings = "ssl = on\nssl_cert_file = '../cert.pem'\nssl_key_file = '../key.pem'\n";
        for (file, text) in [
            ("data/postgresql.auto.conf", settings),
            ("data/pg_hba.conf", "hostssl all all all scram-sha-256\n"),
        ] {
            fs::write(self.folder.file(file), text).expect("its configuration");
        }
        self.start_again().await;
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}:{PORT}/postgres", self.host)
    }

    /// The same with the password in it.
    pub fn whole_url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}:{PORT}/postgres", self.host)
    }

    /// The URL for whoever goes by something that leads to its [`addr`](Self::addr).
    pub fn url_by(&self, addr: SocketAddr) -> String {
        format!("postgres://{USER}@{addr}/postgres")
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host.into(), PORT.parse().expect("a port"))
    }

    /// Runs a statement.
    pub async fn run(&self, sql: &str) {
        let mut psql = self.program("psql");
        psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql, &self.url()]).stderr(Stdio::piped());
        let done = within("psql", psql.output()).await.expect("psql");
        assert!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// The password, for whoever looks where it should not be.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Ends it from one moment to the next.
    pub async fn stop(&self) {
        let server = self.server.lock().take();
        if let Some(mut server) = server {
            let quit = server.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
            let quit = quit.expect("a process");
            // An immediate shutdown, of all its processes.
            rustix::process::kill_process(quit, rustix::process::Signal::QUIT).expect("a process");
            within("PostgreSQL to stop", server.wait()).await.expect("its status");
        }
    }

    /// Starts it once more, with what it holds.
    pub async fn start_again(&self) {
        let host = self.host.to_string();
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", PORT, "-c"]);
        command.arg(format!("listen_addresses={host}"));
        command.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        *self.server.lock() = Some(command.spawn().expect("PostgreSQL"));
        eventually("PostgreSQL to be ready", async || {
            let mut ready = self.program("pg_isready");
            let status = ready.args(["-q", "-h", &host, "-p", PORT]).status().await;
            status.expect("pg_isready").success()
        })
        .await;
    }

    /// Everything that it keeps, as text.
    pub async fn dump(&self) -> String {
        let mut dump = self.program("pg_dump");
        let done = within("pg_dump", dump.args(["--inserts", &self.url()]).output()).await;
        let done = done.expect("pg_dump");
        assert!(done.status.success(), "pg_dump: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    fn data(&self) -> PathBuf {
        self.folder.file("data")
    }

    fn program(&self, name: &str) -> Command {
        let path = binaries().join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", OWN_USER, "--regid", OWN_USER, "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C").env("PGPASSWORD", PASSWORD);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.get_mut().iter_mut().for_each(kill);
    }
}

/// Gives a file or folder to the user that it runs as.
fn hand_over(path: &Path) {
    if !is_root() {
        return;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let line = users.lines().find(|line| line.starts_with(&format!("{OWN_USER}:")));
    let ids: Vec<u32> = line
        .expect("the user postgres: apt-get install postgresql")
        .split(':')
        .filter_map(|field| field.parse().ok())
        .collect();
    chown(path, Some(ids[0]), Some(ids[1])).expect("a file of its own");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where Debian has put the newest version.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let versions = versions.expect("PostgreSQL: apt-get install postgresql").flatten();
    let bins = versions.map(|version| version.path().join("bin"));
    let newest = bins.filter(|bin: &PathBuf| Path::new(bin).join("initdb").exists()).max();
    newest.expect("PostgreSQL: apt-get install postgresql")
}
