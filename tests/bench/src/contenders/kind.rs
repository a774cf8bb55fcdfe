//! Whose programs a contender is made of, whatever the form it takes.

use super::{Contender, bore};

/// A tunnel, or what stands in for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `relay` and `client` of this workspace.
    Ours,
    /// The same of another build.
    Before,
    Rathole,
    Bore,
    Frp,
    Chisel,
    Ssh,
    /// A reverse proxy beside the local service, which is no tunnel.
    Nginx,
    /// The same.
    Caddy,
    TwoHops,
    Direct,
}

impl Contender {
    /// Whose programs it is made of.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Ours | Self::OursTls | Self::OursTwo | Self::OursEight => Kind::Ours,
            Self::OursWeb | Self::OursWebLog => Kind::Ours,
            Self::Before | Self::BeforeWeb => Kind::Before,
            Self::Rathole | Self::RatholeTls => Kind::Rathole,
            Self::Bore => Kind::Bore,
            Self::Frp | Self::FrpTls | Self::FrpWeb => Kind::Frp,
            Self::Chisel | Self::ChiselTls => Kind::Chisel,
            Self::Ssh => Kind::Ssh,
            Self::Nginx => Kind::Nginx,
            Self::Caddy => Kind::Caddy,
            Self::TwoHops => Kind::TwoHops,
            Self::Direct => Kind::Direct,
        }
    }

    /// Whether it is the form of its kind that has TLS switched on.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::OursTls | Self::RatholeTls | Self::FrpTls | Self::ChiselTls)
    }

    /// Whether nobody between its two sides can read what visitors say.
    pub(crate) fn is_encrypted(self) -> bool {
        self.has_tls() || matches!(self.kind(), Kind::Chisel | Kind::Ssh)
    }

    /// Whether it takes requests of HTTP from its visitors, each by itself, and not connections.
    pub(crate) fn is_web(self) -> bool {
        self.is_proxy()
            || matches!(self, Self::OursWeb | Self::OursWebLog | Self::BeforeWeb | Self::FrpWeb)
    }

    /// Whether it is a reverse proxy with no tunnel behind it.
    pub(crate) fn is_proxy(self) -> bool {
        matches!(self.kind(), Kind::Nginx | Kind::Caddy)
    }

    /// Whether visitors of the web can come by TLS, which ends here.
    pub(crate) fn ends_tls(self) -> bool {
        self.is_web() && self.kind() != Kind::Frp
    }

    /// Whether visitors of the web who speak HTTP/2 from the first byte on come to its spare address,
    /// since it expects nothing else there.
    pub(crate) fn has_port_of_http2(self) -> bool {
        self.kind() == Kind::Nginx
    }

    /// Whether this is our tunnel, of the build that the run is about.
    pub(crate) fn is_ours(self) -> bool {
        self.kind() == Kind::Ours
    }

    /// Whether this is somebody else's, which ours is compared with.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self.kind(), Kind::Ours | Kind::Before | Kind::TwoHops | Kind::Direct)
    }

    /// The programs it needs; the first one knows the version.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self.kind() {
            Kind::Ours | Kind::Before => &["relay", "client"],
            // It takes a certificate in a form that hardly anything else makes.
            Kind::Rathole if self.has_tls() => &["rathole", "openssl"],
            Kind::Rathole => &["rathole"],
            Kind::Bore => &["bore"],
            Kind::Frp => &["frps", "frpc"],
            Kind::Chisel => &["chisel"],
            Kind::Ssh => &["ssh", "sshd", "ssh-keygen"],
            Kind::Nginx => &["nginx"],
            Kind::Caddy => &["caddy"],
            Kind::TwoHops | Kind::Direct => &[],
        }
    }

    /// How to ask the first program for its version.
    pub(crate) fn version_flag(self) -> Option<&'static str> {
        match self.kind() {
            Kind::Ssh => Some("-V"),
            Kind::Nginx => Some("-v"),
            Kind::TwoHops | Kind::Direct => None,
            _ => Some("--version"),
        }
    }

    /// How a person installs it.
    pub(crate) fn install(self) -> &'static str {
        match self.kind() {
            Kind::Ours => "cargo build --release -p relay -p client",
            Kind::Before => "copy relay and client of another build to the directory of --before",
            // Its lock file names crates that a new compiler no longer takes.
            Kind::Rathole if self.has_tls() => "cargo install rathole; apt-get install openssl",
            Kind::Rathole => "cargo install rathole",
            Kind::Bore => "cargo install bore-cli --locked",
            Kind::Frp => {
                "go install github.com/fatedier/frp/cmd/frps@latest github.com/fatedier/frp/cmd/frpc@latest"
            }
            Kind::Chisel => "go install github.com/jpillora/chisel@latest",
            Kind::Ssh => "apt-get install openssh-server openssh-client",
            Kind::Nginx => "apt-get install nginx",
            Kind::Caddy => "go install github.com/caddyserver/caddy/v2/cmd/caddy@latest",
            Kind::TwoHops | Kind::Direct => "nothing",
        }
    }

    /// The port its server side insists on, if it does.
    pub(crate) fn fixed_control_port(self) -> Option<u16> {
        (self.kind() == Kind::Bore).then_some(bore::CONTROL_PORT)
    }
}
