//! How Caddy is started: as a reverse proxy for the local service, with as many connections to it as
//! are needed, everything else as it comes.

use std::fs;

use anyhow::{Context, Result};

use super::certificate::Certificate;
use super::{Contender, Place, Recipe};
use crate::programs::Programs;
use crate::protocol::web::HOST;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let directory = place.directory.canonicalize().context("finding Caddy's directory")?;
    let file = directory.join("Caddyfile");
    let Certificate { certificate, key, .. } = Certificate::kept_in(&directory)?;
    let Place { public, secure, local, .. } = place;
    let text = format!(
        "{{
    admin off
    auto_https off
    persist_config off
    servers {{
        protocols h1 h2 h2c
    }}
}}
(local) {{
    bind {host}
    reverse_proxy {local} {{
        transport http {{
            keepalive_idle_conns_per_host {POOLED}
        }}
    }}
}}
http://{HOST}:{plain} {{
    import local
}}
https://{HOST}:{tls} {{
    tls {certificate:?} {key:?}
    import local
}}
",
        host = public.ip(),
        plain = public.port(),
        tls = secure.port(),
    );
    fs::write(&file, text).context("writing the Caddyfile")?;
    let mut server = programs.command(Contender::Caddy, "caddy")?;
    server.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    // Whatever it keeps, it keeps nothing where the user's own has its files.
    server.env("HOME", &directory).env("XDG_DATA_HOME", &directory);
    server.env("XDG_CONFIG_HOME", &directory);
    Ok(Recipe { server, client: None })
}

/// By itself it keeps 32, fewer than there are visitors at a time.
const POOLED: u32 = 256;
