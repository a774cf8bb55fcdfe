//! The list of metrics that tunnels have.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::list::Visits;
use super::outcome::{FaultCode, Outcome, StatusClass};
use super::requests::Requests;
use super::text::Samples;

/// A metric that every tunnel has that was made use of, labelled with the tunnel's name.
pub(super) struct OfTunnels {
    pub(super) name: &'static str,
    /// Prometheus's name for the type.
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    /// What its samples are made of.
    pub(super) of: Of,
}

/// Writes the samples of one tunnel.
pub(super) enum Of {
    /// Whatever it is.
    Any(fn(&Shown<'_>, &mut Samples<'_>)),
    /// If it was visited.
    Visits(fn(&Visits, &mut Samples<'_>)),
    /// If a request has come to it.
    Requests(fn(&Requests, &mut Samples<'_>)),
}

/// What a tunnel shows.
pub(super) struct Shown<'a> {
    /// None before the first visit.
    pub(super) visits: Option<&'a Visits>,
    /// None before the first request.
    pub(super) requests: Option<&'a Requests>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// None before the first heartbeat's.
    pub(super) round_trip: Option<Duration>,
    pub(super) healthy: bool,
}

impl OfTunnels {
    pub(super) fn write(&self, shown: &Shown<'_>, samples: &mut Samples<'_>) {
        match self.of {
            Of::Any(write) => write(shown, samples),
            Of::Visits(write) => shown.visits.into_iter().for_each(|visits| write(visits, samples)),
            Of::Requests(write) => {
                shown.requests.into_iter().for_each(|requests| write(requests, samples));
            }
        }
    }
}

/// All metrics of tunnels, in the order in which they are shown.
pub(super) static OF_TUNNELS: [OfTunnels; 15] = [
    OfTunnels {
        name: "relay_visitors",
        kind: "gauge",
        help: "Open visits.",
        of: Of::Visits(|visits, samples| samples.number(visits.open.load(Ordering::Relaxed))),
    },
    OfTunnels {
        name: "relay_visitors_total",
        kind: "counter",
        help: "Visits that are over, by how they ended.",
        of: Of::Visits(|visits, samples| {
            for outcome in Outcome::ALL {
                let ended = visits.ended[outcome as usize].load(Ordering::Relaxed);
                // Of nine ways to fail most tunnels see one or two.
                if ended > 0 || outcome == Outcome::Completed {
                    samples.labelled("outcome", outcome.label(), ended);
                }
            }
        }),
    },
    OfTunnels {
        name: "relay_bytes_total",
        kind: "counter",
        help: "Payload bytes: in from visitors, out to visitors.",
        of: Of::Any(|shown, samples| {
            samples.labelled("direction", "in", shown.bytes_in);
            samples.labelled("direction", "out", shown.bytes_out);
        }),
    },
    OfTunnels {
        name: "relay_connect_seconds",
        kind: "histogram",
        help: "From a visitor's arrival to the connection of the local service.",
        of: Of::Visits(|visits, samples| samples.histogram(&visits.connect.read())),
    },
    OfTunnels {
        name: "relay_first_byte_seconds",
        kind: "histogram",
        help: "From a visitor's arrival to the first byte back.",
        of: Of::Visits(|visits, samples| samples.histogram(&visits.first_byte.read())),
    },
    OfTunnels {
        name: "relay_visit_seconds",
        kind: "histogram",
        help: "Length of visits.",
        of: Of::Visits(|visits, samples| samples.histogram(&visits.length.read())),
    },
    OfTunnels {
        name: "relay_requests",
        kind: "gauge",
        help: "Requests that are going on.",
        of: Of::Requests(|requests, samples| samples.number(requests.open.load(Ordering::Relaxed))),
    },
    OfTunnels {
        name: "relay_requests_total",
        kind: "counter",
        help: "Requests that are over, by the kind of their status.",
        of: Of::Requests(|requests, samples| {
            for class in StatusClass::ALL {
                let ended = requests.ended[class as usize].load(Ordering::Relaxed);
                if ended > 0 || class == StatusClass::Successful {
                    samples.labelled("status", class.label(), ended);
                }
            }
        }),
    },
    OfTunnels {
        name: "relay_request_faults_total",
        kind: "counter",
        help: "Requests that the relay answered itself, by the reason.",
        of: Of::Requests(|requests, samples| {
            for code in FaultCode::ALL {
                let ended = requests.faults[code as usize].load(Ordering::Relaxed);
                if ended > 0 {
                    samples.labelled("code", code.label(), ended);
                }
            }
        }),
    },
    OfTunnels {
        name: "relay_requests_aborted_total",
        kind: "counter",
        help: "Requests whose answer did not come to its end.",
        of: Of::Requests(|requests, samples| {
            samples.number(requests.aborted.load(Ordering::Relaxed));
        }),
    },
    OfTunnels {
        name: "relay_requests_timed_out_total",
        kind: "counter",
        help: "Requests that were given up because something of them was not taken, or did not end, in time.",
        of: Of::Requests(|requests, samples| {
            samples.number(requests.timed_out.load(Ordering::Relaxed));
        }),
    },
    OfTunnels {
        name: "relay_request_first_byte_seconds",
        kind: "histogram",
        help: "From a request's arrival to the beginning of its answer.",
        of: Of::Requests(|requests, samples| samples.histogram(&requests.first_byte.read())),
    },
    OfTunnels {
        name: "relay_request_seconds",
        kind: "histogram",
        help: "Length of requests, with their answers.",
        of: Of::Requests(|requests, samples| samples.histogram(&requests.length.read())),
    },
    OfTunnels {
        name: "relay_tunnel_healthy",
        kind: "gauge",
        help: "Whether a client with a healthy local service claims the tunnel, if any claims it.",
        of: Of::Any(|shown, samples| samples.number(u8::from(shown.healthy))),
    },
    OfTunnels {
        name: "relay_session_rtt_seconds",
        kind: "gauge",
        help: "Last heartbeat's round trip of the session that serves the tunnel.",
        of: Of::Any(|shown, samples| {
            if let Some(round_trip) = shown.round_trip {
                samples.time(round_trip);
            }
        }),
    },
];
