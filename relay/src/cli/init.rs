//! `relay init`: everything that a relay on the open internet needs, without a question.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use shared::control::protocol::HostName;
use shared::kit::settings::quoted;
use shared::token::{Grant, Token};

use super::tools::{Answer, for_a_shell};
use crate::certs::Identity;
use crate::data::DataFolder;
use crate::store::{NewToken, Place, Store};

/// The name of the first user and of its token.
const FIRST: &str = "admin";

/// What is made, and where.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder for the certificate, users and tokens, which is made
    #[arg(long, env = "RELAY_DATA", value_name = "DIR", default_value = "sallyport")]
    data: PathBuf,

    /// The configuration file, which is made
    #[arg(long, env = "RELAY_CONFIG", value_name = "FILE", default_value = "relay.toml")]
    config: PathBuf,

    /// The name or address under which clients and visitors know this machine
    #[arg(long, env = "RELAY_PUBLIC_NAME", value_name = "HOST", default_value = "localhost")]
    public_name: HostName,

    /// The port of the relay that clients connect to
    #[arg(long, value_name = "PORT", default_value = "4444",
          value_parser = clap::value_parser!(u16).range(1..))]
    control: u16,

    /// The port of the relay for visitors of the tunnel `default`
    #[arg(long, value_name = "PORT", default_value = "8080",
          value_parser = clap::value_parser!(u16).range(1..))]
    public: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Init {
    pub(super) async fn run(self) -> anyhow::Result<Answer> {
        let Self { data, config, public_name, control, public, json } = self;
        let shown = config.display();
        if control == public {
            bail!("--control and --public are the same port: clients and visitors need one each");
        }
        if config.exists() {
            bail!("{shown} is there already: choose another with --config");
        }
        let folder = DataFolder::open(&data)?;
        let _lock = folder.lock()?;
        let names = [public_name.as_str(), "localhost", "127.0.0.1", "::1"];
        let identity = Identity::kept(&folder, names.map(str::to_owned).into())?;
        let store = Store::open(&Place::Folder(folder)).await?;
        if store.has_had_tokens().await? {
            bail!("{} has had tokens already: it is set up", data.display());
        }
        let data = std::path::absolute(&data).context("cannot tell where the folder is")?;
        let data = data.to_str().context("the folder's name is no text")?;
        let text = format!(
            "# A Sallyport relay, as `relay init` sets it up. See deploy/relay.toml for all that can \
             be set.\n\n\
             control = {control}\npublic = {public}\npublic-name = {}\n\n\
             # The certificate, users and tokens.\ndata = {}\n\n\
             # Clients speak TLS and know the certificate by its pin.\n\
             tls = \"self-signed\"\nrequire-tls = true\n\n\
             # Nobody comes in without a token.\nanonymous = \"never\"\n",
            quoted(public_name.as_str()),
            quoted(data),
        );
        // Before the token, which is shown once: whatever fails can be done again.
        let written = Written::new(&config, &text);
        let written = written.with_context(|| format!("cannot write {shown}"))?;
        let token = first_token(&store).await.context("cannot make the first token")?;
        written.stays();

        let server = format!("tls://{public_name}:{control}");
        let pin = identity.pin.to_string();
        let which = format!("{} --data {}", token.id(), for_a_shell(data));
        let text = if json {
            let made = json!({
                "config": config, "data": data, "server": server, "pin": pin,
                "user": FIRST, "token": token.to_string(),
            });
            format!("{made}\n")
        } else {
            format!(
                "relay --config {shown}\n\
                 CLIENT_TOKEN={token} client --server {server} --tls-pin {pin} --local 3000\n"
            )
        };
        Ok(Answer::Token { text, which })
    }
}

async fn first_token(store: &Store) -> anyhow::Result<Token> {
    let name = FIRST.parse().context("a name")?;
    match store.users().await?.iter().find(|user| user.name == name) {
        Some(user) if user.disabled.is_some() => {
            bail!("its user is disabled: relay user enable {FIRST}")
        }
        Some(_) => (),
        None => store.create_user(&name).await?,
    }
    let token = Token::random();
    let new = NewToken {
        id: token.id(),
        owner: name.clone(),
        name,
        verifier: token.verifier(),
        grant: Grant::default(),
    };
    store.create_token(&new).await?;
    Ok(token)
}

/// A file that was not there before, and goes again unless it is to stay.
struct Written<'a>(Option<&'a Path>);

impl<'a> Written<'a> {
    fn new(path: &'a Path, text: &str) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let written = Self(Some(path));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(written)
    }

    fn stays(mut self) {
        self.0 = None;
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Whoever tries again is told if it is still there.
            drop(fs::remove_file(path));
        }
    }
}
