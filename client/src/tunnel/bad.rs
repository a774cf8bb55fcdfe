//! What can be wrong with a tunnel's description.

use std::fmt;

use shared::control::protocol::{BadTunnelName, MAX_HTTP_OPTIONS, TunnelName};
use shared::kit::nearest::did_you_mean;

use super::options::{Carries, Options};

/// What is wrong with a tunnel's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTunnel {
    /// There is no `=`.
    NoName,
    /// The part before the `=` is no name.
    Name(BadTunnelName),
    /// The target is not an address.
    Target(String),
    /// What begins like this needs a path.
    NoPath(&'static str),
    /// The kind before `://` is not known.
    Scheme(String),
    /// This stands behind the port of a URL.
    Behind(String),
    /// Nothing that a certificate can name.
    NoServerName(String),
    /// The value of this option has a `%` that stands for nothing.
    Percent(String),
    /// The option is not known.
    UnknownOption(String),
    /// The option is there twice.
    Twice(&'static str),
    /// An option has a value that is none.
    Value {
        /// The option's name.
        option: &'static str,
        /// Its value.
        value: String,
        /// What should be there, for a person.
        expected: String,
    },
    /// The same for one that nobody sees.
    Secret {
        /// The option's name.
        option: &'static str,
        /// What should be there, for a person.
        expected: String,
    },
    /// The option is not for tunnels of this kind.
    WrongKind {
        /// The option's name.
        option: &'static str,
        /// What it is for.
        is_for: Carries,
        /// The scheme of the tunnel's target.
        scheme: &'static str,
    },
    /// The first option means nothing without the second.
    Needs(&'static str, &'static str),
    /// These two say the same in two ways.
    Both(&'static str, &'static str),
    /// The name of the tunnel is no subdomain.
    NoSubdomain(TunnelName),
    /// A file that an option names is not good.
    File {
        /// The option's name.
        option: &'static str,
        /// What is wrong, for a person.
        what: String,
    },
    /// The HTTP options of this tunnel have so many bytes.
    TooLong(TunnelName, usize),
}

impl fmt::Display for BadTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("a tunnel is NAME=TARGET, such as ssh=22"),
            Self::Name(err) => err.fmt(f),
            Self::Target(target) => write!(
                f,
                "'{target}' is no target: use PORT, HOST:PORT, unix:/path, or a URL such as \
                 http://HOST:PORT"
            ),
            Self::NoPath(scheme) => {
                write!(f, "{scheme} needs a path, such as {scheme}/run/app.sock")
            }
            Self::Scheme(scheme) => write!(
                f,
                "'{scheme}://' is not known: use http://, https://, h2c://, tls:// or tcp://"
            ),
            Self::Behind(path) => write!(
                f,
                "'{path}' behind the port: a tunnel leads to a whole local service; leave it out, \
                 or say by path=/PREFIX which paths come here"
            ),
            Self::NoServerName(host) => write!(f, "'{host}' is no name that TLS can check"),
            Self::Percent(option) => write!(
                f,
                "'{option}': a % and two hexadecimal digits stand for a byte, and a plain % is %25"
            ),
            Self::UnknownOption(option) => {
                let hint = did_you_mean(option, Options::NAMES);
                write!(f, "the option '{option}' is not known{hint}")
            }
            Self::Twice(option) => write!(f, "'{option}' is there twice"),
            Self::Value { option, value, expected } => write!(f, "'{option}={value}': {expected}"),
            Self::Secret { option, expected } => write!(f, "'{option}': {expected}"),
            Self::WrongKind { option, is_for, scheme } => {
                write!(f, "'{option}' is for {is_for} tunnels, and this one is {scheme}")
            }
            Self::Needs(option, needs) => write!(f, "'{option}' needs a '{needs}'"),
            Self::Both(one, other) => {
                write!(f, "there is '{one}', and '{other}' as well: give one of them")
            }
            Self::NoSubdomain(name) => write!(
                f,
                "the name '{name}' cannot be a subdomain: give the tunnel a 'subdomain' or a 'host'"
            ),
            Self::File { option, what } => write!(f, "'{option}': {what}"),
            Self::TooLong(name, bytes) => write!(
                f,
                "the options of the tunnel `{name}` are {bytes} bytes in a message to the relay, \
                 and {MAX_HTTP_OPTIONS} are the most"
            ),
        }
    }
}

impl std::error::Error for BadTunnel {}
