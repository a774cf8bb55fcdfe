//! A real nginx, from Debian's package.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::files::Folder;
use crate::peer::Peer;
use crate::wait::eventually;

/// What `http { }` begins with, so that it keeps no list of requests and puts files into its own
/// folder alone.
pub const HTTP: &str = "access_log off; client_body_temp_path body; proxy_temp_path proxy; \
                        fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n";

/// What a configuration with `stream { }` begins with.
pub const STREAM: &str = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n";

/// An nginx that runs until it is dropped. If the test has failed by then, what it wrote is printed.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    folder: Folder,
}

impl Nginx {
    /// Starts one with this configuration, and waits until it listens at `address`.
    ///
    /// # Panics
    ///
    /// It is not installed (see tests/programs), or does not listen.
    pub async fn start(address: SocketAddr, config: &str) -> Self {
        let folder = Folder::new();
        let log = File::create(folder.file("log")).expect("a file");
        let process = Self::command(&folder, config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx, which `make test-programs` installs");
        let nginx = Self { process, folder };
        eventually("nginx to listen", async || Peer::try_connect(address).await.is_ok()).await;
        nginx
    }

    /// What starts one as a single process with this configuration, all of whose files are in
    /// `folder`.
    pub fn command(folder: &Folder, config: &str) -> Command {
        // What has to stand before all else stays there.
        let config = format!(
            "{config}\ndaemon off; master_process off; pid pid; error_log stderr;\nevents {{}}\n"
        );
        let file = folder.write("nginx.conf", &config);
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(file);
        command
    }

    #[expect(clippy::print_stderr, reason = "the output of a test that has failed")]
    fn show(&self) {
        let log = fs::read(self.folder.file("log")).unwrap_or_default();
        eprintln!("nginx:\n{}", String::from_utf8_lossy(&log));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
