//! How nginx is started: as a reverse proxy for the local service, with what a proxy of streams and of
//! many requests needs, and without a line for each request.

use std::fs;

use anyhow::{Context, Result};

use super::certificate::Certificate;
use super::{Contender, Place, Recipe};
use crate::programs::Programs;

pub(super) fn recipe(programs: &Programs, place: &Place<'_>) -> Result<Recipe> {
    let directory = place.directory.canonicalize().context("finding nginx's directory")?;
    let file = directory.join("nginx.conf");
    let Certificate { certificate, key, .. } = Certificate::kept_in(&directory)?;
    let [directory, certificate, key] =
        [directory, certificate, key].map(|path| path.display().to_string());
    let Place { public, spare, secure, local, .. } = place;
    // One process, as the relay is one: its memory is all of it.
    let text = format!(
        "daemon off;
master_process off;
pid {directory}/pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests {NO_LIMIT};
    client_max_body_size 0;
    upstream local {{
        server {local};
        keepalive {POOLED};
        keepalive_requests {NO_LIMIT};
    }}
    server {{
        listen {public};
        listen {spare} http2;
        listen {secure} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://local;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"
    );
    fs::write(&file, text).context("writing nginx.conf")?;
    let mut server = programs.command(Contender::Nginx, "nginx")?;
    server.args(["-e", "stderr", "-p"]).arg(directory).arg("-c").arg(file);
    Ok(Recipe { server, client: None })
}

/// By itself it closes a connection after 1,000 requests.
const NO_LIMIT: u32 = 1_000_000_000;

/// Connections to the local service that wait for the next request: more than there are visitors at
/// a time.
const POOLED: u32 = 256;
