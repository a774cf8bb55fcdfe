//! The value of `--tunnel`.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use crate::tunnel::{Draft, masked};

/// The tunnels in one value. A variable has to hold them all, and may be empty.
#[derive(Clone, Debug)]
pub(super) struct Tunnels(pub(super) Vec<Draft>);

/// Parses them. What is not good is repeated without its secrets, which clap would not know.
#[derive(Clone, Debug)]
pub(super) struct TunnelsParser;

impl TypedValueParser for TunnelsParser {
    type Value = Tunnels;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Tunnels, clap::Error> {
        let bad = |what: String| command.clone().error(ErrorKind::ValueValidation, what);
        let flag = arg.map(ToString::to_string).unwrap_or_default();
        let Some(text) = value.to_str() else {
            return Err(bad(format!("the value of '{flag}' is no text in UTF-8")));
        };
        let tunnels = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        tunnels.map(Tunnels).map_err(|err: crate::tunnel::BadTunnel| {
            bad(format!("invalid value '{}' for '{flag}': {err}", masked(text)))
        })
    }
}
