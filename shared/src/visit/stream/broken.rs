//! Why a stream carries no more.

use std::fmt;
use std::io;

use crate::visit::record::{Abort, BadRecord, Failure, FailureReason};

/// Why a stream carries no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It stopped without a word: the session is gone, or the far end dropped it.
    Lost,
    /// The far end's TCP connection is gone.
    Aborted(Abort),
    /// The client has no connection to the local service.
    Failed(Failure),
    /// Payload came after this end had been closed.
    Unwanted,
    /// The far end sent something that is no record.
    Bad(BadRecord),
    /// The far end sent a record where it may not stand.
    OutOfOrder,
    /// The far end sent so many tiny frames that were not taken that the rest was not let through.
    TinyFrames,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        let kind = match &broken {
            Broken::Lost | Broken::Aborted(_) | Broken::Unwanted | Broken::TinyFrames => {
                io::ErrorKind::ConnectionReset
            }
            Broken::Failed(failure) => match failure.reason {
                FailureReason::TimedOut => io::ErrorKind::TimedOut,
                FailureReason::Refused | FailureReason::UnknownTunnel | FailureReason::Limit => {
                    io::ErrorKind::ConnectionRefused
                }
            },
            Broken::Bad(_) | Broken::OutOfOrder => io::ErrorKind::InvalidData,
        };
        Self::new(kind, broken)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the stream was lost"),
            Self::Aborted(abort) => write!(f, "the far end was {abort}"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Bad(bad) => write!(f, "the far end broke the protocol: {bad}"),
            Self::Unwanted => f.write_str("the far end sent more than was wanted"),
            Self::TinyFrames => f.write_str("too many tiny pieces that nobody takes"),
            Self::OutOfOrder => {
                f.write_str("the far end broke the protocol: a record out of order")
            }
        }
    }
}

impl std::error::Error for Broken {}
