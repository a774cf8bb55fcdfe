//! Where users and tokens are kept, and the commands that keep them.

use serde_json::Value;

use crate::files::Folder;
use crate::postgres::Postgres;
use crate::process::{Client, Program, Relay};

/// Where users and tokens are kept.
#[derive(Debug)]
pub struct Kept {
    /// The test's own folder, with the data folder `data` in it.
    pub folder: Folder,
    /// The database, if it is none in a file.
    pub server: Option<Postgres>,
}

impl Kept {
    /// A file.
    pub fn in_a_file() -> Self {
        Self { folder: Folder::new(), server: None }
    }

    /// A PostgreSQL of its own.
    pub async fn in_postgres() -> Self {
        Self { folder: Folder::new(), server: Some(Postgres::start().await) }
    }

    /// One of each.
    pub async fn both() -> [Self; 2] {
        [Self::in_a_file(), Self::in_postgres().await]
    }

    /// The flags that say where.
    pub fn args(&self) -> [String; 2] {
        match &self.server {
            Some(server) => ["--database".into(), server.url()],
            None => ["--data".into(), self.folder.file("data").display().to_string()],
        }
    }

    /// A command of the relay that works on it.
    pub fn tool(&self, args: &[&str]) -> Program {
        Program::bare("relay").args(args).args(self.args())
    }

    /// What a tool prints.
    pub async fn ask(&self, args: &[&str]) -> String {
        let (status, printed, log) = self.tool(args).output().await;
        assert_eq!(status, Some(0), "{args:?}: {log}");
        printed
    }

    /// What a tool that fails complains of.
    pub async fn complaint(&self, args: &[&str]) -> String {
        let (status, printed, log) = self.tool(args).output().await;
        assert_ne!(status, Some(0), "{args:?}: {printed}");
        log
    }

    /// What a tool prints as JSON.
    pub async fn json(&self, args: &[&str]) -> Value {
        let printed = self.ask(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&printed).expect("JSON")
    }

    /// A new token of `user`, and its id.
    pub async fn token(&self, user: &str, name: &str, rights: &[&str]) -> (String, String) {
        let args = ["token", "create", "--user", user, "--name", name];
        let made = self.json(&[&args, rights].concat()).await;
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        (text("token"), text("id"))
    }

    /// A relay that lets in whom it knows.
    pub async fn relay(&self) -> Relay {
        let relay = match &self.server {
            Some(server) => Program::relay().env("RELAY_DATABASE", server.whole_url()),
            None => Program::relay().args(self.args()),
        };
        Relay::of(relay).await
    }

    /// Whatever is in it, byte by byte.
    pub async fn contents(&self) -> Vec<u8> {
        if let Some(server) = &self.server {
            return server.dump().await.into_bytes();
        }
        let files = std::fs::read_dir(self.folder.file("data")).expect("the data folder").flatten();
        files.flat_map(|file| std::fs::read(file.path()).expect("a file")).collect()
    }
}

/// A client with this token.
pub fn client(relay: &Relay, token: &str, args: &[&str]) -> Client {
    let server = relay.control.to_string();
    let program = Program::client().env("CLIENT_TOKEN", token).args(["--server", &server]);
    Client::of(program.args(args))
}
