//! The flags of what is kept of requests and visits.

use std::time::Duration;

use clap::Args;
use shared::kit::amounts::Size;
use shared::kit::args;

use crate::config::{InspectMemory, InspectSettings, MaskNames};

/// What may be kept of requests and visits.
#[derive(Clone, Debug, Args)]
pub(super) struct InspectArgs {
    /// The most memory for requests and visits of tunnels that are inspected; 0: none can be
    #[arg(long, env = "RELAY_INSPECT_MEMORY", value_name = "SIZE", default_value = "64MB")]
    inspect_memory: InspectMemory,

    /// So much is kept of each body, and of each direction of a visit
    #[arg(long, env = "RELAY_INSPECT_BODY", value_name = "SIZE", default_value = "256kB")]
    inspect_body: Size,

    /// How long requests and visits are kept that were inspected
    #[arg(long, env = "RELAY_INSPECT_KEEP", value_name = "TIME", default_value = "1h",
          value_parser = args::positive_duration)]
    inspect_keep: Duration,

    /// Names of headers, parameters, fields and JSON keys whose values are masked before anything is
    /// kept, besides those that the relay knows, with commas between them
    #[arg(long, env = "RELAY_INSPECT_MASK", value_name = "NAMES")]
    inspect_mask: Vec<MaskNames>,
}

impl From<InspectArgs> for InspectSettings {
    fn from(args: InspectArgs) -> Self {
        let InspectArgs { inspect_memory, inspect_body, inspect_keep, inspect_mask } = args;
        Self {
            memory: inspect_memory,
            body: inspect_body,
            keep: inspect_keep,
            mask: MaskNames::joined(inspect_mask),
        }
    }
}
