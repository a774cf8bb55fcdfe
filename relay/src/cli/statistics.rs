//! The flags of statistics and of the history of requests.

use std::time::Duration;

use clap::Args;
use shared::kit::args;

use crate::config::StatisticsSettings;

/// What is kept of what moves at tunnels.
#[derive(Clone, Debug, Args)]
pub(super) struct StatisticsArgs {
    /// How long it is kept what moved at tunnels, by the hour; 0s: nothing is. Without a store the
    /// last hours are remembered
    #[arg(long, env = "RELAY_STATISTICS", value_name = "TIME", default_value = "90d",
          value_parser = args::duration)]
    statistics: Duration,

    /// How long the same is kept by the minute, an hour or longer
    #[arg(long, env = "RELAY_STATISTICS_MINUTES", value_name = "TIME", default_value = "2d",
          value_parser = args::positive_duration)]
    statistics_minutes: Duration,

    /// How long it is kept which requests and visits there were, but nothing that they moved; 0s:
    /// not at all. Without a store the last ones are remembered
    #[arg(long, env = "RELAY_HISTORY", value_name = "TIME", default_value = "7d",
          value_parser = args::duration)]
    history: Duration,

    /// Keep with them where the visitors came from
    #[arg(long, env = "RELAY_HISTORY_ADDRESSES")]
    history_addresses: bool,
}

impl From<StatisticsArgs> for StatisticsSettings {
    fn from(args: StatisticsArgs) -> Self {
        let StatisticsArgs { statistics, statistics_minutes, history, history_addresses } = args;
        Self { hours: statistics, minutes: statistics_minutes, history, history_addresses }
    }
}
