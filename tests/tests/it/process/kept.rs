//! Where users and tokens are kept, and the commands that keep them.

use serde_json::Value;
use tests::Folder;
use tests::postgres::Postgres;
use tests::process::{Client, Program, Relay};

/// Where users and tokens are kept.
pub(super) struct Kept {
    pub(super) folder: Folder,
    pub(super) server: Option<Postgres>,
}

impl Kept {
    pub(super) fn in_a_file() -> Self {
        Self { folder: Folder::new(), server: None }
    }

    pub(super) async fn in_postgres() -> Self {
        Self { folder: Folder::new(), server: Some(Postgres::start().await) }
    }

    pub(super) async fn both() -> [Self; 2] {
        [Self::in_a_file(), Self::in_postgres().await]
    }

    /// The flags that say where.
    pub(super) fn args(&self) -> [String; 2] {
        match &self.server {
            Some(server) => ["--database".into(), server.url()],
            None => ["--data".into(), self.folder.file("data").display().to_string()],
        }
    }

    pub(super) fn tool(&self, args: &[&str]) -> Program {
        Program::bare("relay").args(args).args(self.args())
    }

    /// What a tool prints.
    pub(super) async fn ask(&self, args: &[&str]) -> String {
        let (status, printed, log) = self.tool(args).output().await;
        assert_eq!(status, Some(0), "{args:?}: {log}");
        printed
    }

    /// What a tool that fails complains of.
    pub(super) async fn complaint(&self, args: &[&str]) -> String {
        let (status, printed, log) = self.tool(args).output().await;
        assert_ne!(status, Some(0), "{args:?}: {printed}");
        log
    }

    pub(super) async fn json(&self, args: &[&str]) -> Value {
        let printed = self.ask(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&printed).expect("JSON")
    }

    /// A new token of `user`, and its id.
    pub(super) async fn token(&self, user: &str, name: &str, rights: &[&str]) -> (String, String) {
        let args = ["token", "create", "--user", user, "--name", name];
        let made = self.json(&[&args, rights].concat()).await;
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        (text("token"), text("id"))
    }

    pub(super) async fn relay(&self) -> Relay {
        Relay::of(Program::relay().args(self.args())).await
    }

    /// Whatever is in it, byte by byte.
    pub(super) async fn contents(&self) -> Vec<u8> {
        if let Some(server) = &self.server {
            return server.dump().await.into_bytes();
        }
        let files = std::fs::read_dir(self.folder.file("data")).expect("the data folder").flatten();
        files.flat_map(|file| std::fs::read(file.path()).expect("a file")).collect()
    }
}

/// A client with this token.
pub(super) fn client(relay: &Relay, token: &str, args: &[&str]) -> Client {
    let server = relay.control.to_string();
    let program = Program::client().env("CLIENT_TOKEN", token).args(["--server", &server]);
    Client::of(program.args(args))
}
