//! How visits, requests, handshakes and sessions end, as values of a label.

use shared::carry::wire::Breach;

/// An enum whose variants are the values of a label, each with the value's text.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// All values, each at the place of its number.
            pub(crate) const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// The value's text.
            pub(crate) fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

label! {
    /// How a visit ended.
    Outcome {
        /// Both directions came to their end.
        Completed = "completed",
        /// One of the two TCP connections was reset, or the relay cut it when it stopped.
        Reset = "reset",
        /// No client serves the tunnel.
        NoClient = "no_client",
        /// The local service could not be reached.
        LocalRefused = "local_refused",
        /// The local service did not answer the connection in time.
        LocalTimeout = "local_timeout",
        /// A limit of the relay or the client was reached.
        Limit = "limit",
        /// The session was lost.
        Lost = "lost",
        /// Nothing moved for too long.
        Timeout = "timeout",
        /// The rules of the relay or the tunnel do not let the visitor in.
        Denied = "denied",
        /// A trusted balancer did not say who visits, or not so that it can be understood.
        BadHeader = "bad_header",
    }
}

label! {
    /// Why somebody does not get a host name.
    HostRefusal {
        /// It is a label that is kept back.
        KeptBack = "kept_back",
        /// It is the relay's own, or below its domain.
        Own = "own",
        /// Somebody else has it.
        Taken = "taken",
        /// It is not proven.
        NotProven = "not_proven",
        /// Only a user could have it.
        NoUser = "no_user",
        /// It looks like somebody else's.
        Lookalike = "lookalike",
        /// Too many wait for their proofs.
        TooMany = "too_many",
    }
}

label! {
    /// What came of a look at the proof of a host name.
    Proof {
        Found = "found",
        Missing = "missing",
        /// Nobody can say.
        Unknown = "unknown",
    }
}

label! {
    /// What came of a change of the relay's zone.
    DnsChange {
        Done = "done",
        Failed = "failed",
    }
}

label! {
    /// How a client's handshake ended.
    Handshake {
        Accepted = "accepted",
        Refused = "refused",
        /// Not a client, or a broken one.
        Invalid = "invalid",
        /// The connection ended too early.
        Lost = "lost",
        Timeout = "timeout",
        /// It had to make room for newer ones.
        Evicted = "evicted",
        /// Its source has failed too often, and has to wait.
        Penalised = "penalised",
    }
}

label! {
    /// How the TLS handshake of somebody at the control port ended.
    TlsHandshake {
        /// With everything that belongs to it.
        Full = "full",
        /// The two have met before.
        Resumed = "resumed",
        /// The two do not agree, or there is no TLS here.
        Failed = "failed",
        /// It took too long, or had to make room for newer ones.
        GivenUp = "given_up",
    }
}

label! {
    /// How the far end of the control port broke the protocol under the streams.
    BreachKind {
        /// It ended the session with a go-away that tells of an error.
        GoAway = "go_away",
        /// A frame that has no place where it came: over its window, for a stream that there is
        /// already, an answer that nobody asked for.
        BadFrame = "bad_frame",
        NotYamux = "not_yamux",
        FrameTooLarge = "frame_too_large",
        TinyFrames = "tiny_frames",
        StreamNotAllowed = "stream_not_allowed",
        /// More than a handshake from a stranger.
        TooMuch = "too_much",
        PingFlood = "ping_flood",
        StreamFlood = "stream_flood",
        WindowUpdates = "window_updates",
        StrayFrames = "stray_frames",
        MessageFlood = "message_flood",
        TlsFlood = "tls_flood",
    }
}

impl From<&Breach> for BreachKind {
    fn from(breach: &Breach) -> Self {
        match breach {
            Breach::GoAwayReceived(_) => Self::GoAway,
            Breach::GoAwaySent(..) => Self::BadFrame,
            Breach::NotYamux(_) => Self::NotYamux,
            Breach::FrameTooLarge(..) => Self::FrameTooLarge,
            Breach::TinyFrames => Self::TinyFrames,
            Breach::StreamNotAllowed => Self::StreamNotAllowed,
            Breach::TooMuch => Self::TooMuch,
            Breach::PingFlood => Self::PingFlood,
            Breach::StreamFlood => Self::StreamFlood,
            Breach::WindowUpdates => Self::WindowUpdates,
            Breach::StrayFrames => Self::StrayFrames,
            Breach::MessageFlood => Self::MessageFlood,
            Breach::TlsFlood => Self::TlsFlood,
        }
    }
}

label! {
    /// What came of a certificate that was wanted.
    CertificateOrder {
        Issued = "issued",
        /// The authority has said no.
        Failed = "failed",
        /// The authority, or the store, could not be reached.
        NotReached = "not_reached",
        /// The authority was not asked, because of the name: its proof, or what would make its record.
        NotPlaced = "not_placed",
        /// It has to wait for a limit of the relay's own.
        PutOff = "put_off",
    }
}

label! {
    /// What came of a change of the configuration file.
    Reload {
        /// It counts from now on.
        Applied = "applied",
        /// It is not good, and everything stays as it was.
        Refused = "refused",
    }
}

label! {
    /// Which limit somebody has come up against.
    Limit {
        /// Of all tunnels.
        Visitors = "visitors",
        VisitorsPerTunnel = "visitors_per_tunnel",
        VisitorsPerSource = "visitors_per_source",
        VisitorsPerOwner = "visitors_per_owner",
        VisitorsPerToken = "visitors_per_token",
        /// Of a tunnel, for the requests of one source.
        TunnelSharePerSource = "tunnel_share_per_source",
        /// Of the streams of a client, for the same.
        ClientSharePerSource = "client_share_per_source",
        NewVisitorsPerSource = "new_visitors_per_source",
        NewVisitorsPerTunnel = "new_visitors_per_tunnel",
        /// Of a tunnel whose owner says how often they may come.
        RequestsPerSource = "requests_per_source",
        /// Of a tunnel with passwords: wrong ones.
        LoginsPerSource = "logins_per_source",
        /// Of tunnels whose requests are signed: those that are held until it is known by whom.
        SignedBodies = "signed_bodies",
        /// What the heads of requests take up.
        RequestHeads = "request_heads",
        /// Of connections by HTTP/2: they get small ones.
        Windows = "windows",
        /// Of a token, in its day or month.
        Quota = "quota",
        /// Of tokens that are narrowed from one, and used in a day or month.
        QuotasPerToken = "quotas_per_token",
        /// Of all owners.
        Sessions = "sessions",
        SessionsPerOwner = "sessions_per_owner",
        TunnelsPerSession = "tunnels_per_session",
        TunnelsPerToken = "tunnels_per_token",
        /// At the control port, of those who have not been let in yet.
        Handshakes = "handshakes",
        /// Of clients that have gone, for each owner or source.
        HeldPorts = "held_ports",
        RatePerTunnel = "rate_per_tunnel",
        RatePerOwner = "rate_per_owner",
        RatePerToken = "rate_per_token",
    }
}

label! {
    /// Which kind of status a request was answered with.
    StatusClass {
        Informational = "1xx",
        Successful = "2xx",
        Redirection = "3xx",
        OfVisitor = "4xx",
        OfServer = "5xx",
        /// With none: its visitor left before there was an answer.
        Unanswered = "none",
    }
}

label! {
    /// What became of rows of statistics.
    KeptAs {
        Written = "written",
        /// There was no room for them until they could be written.
        Dropped = "dropped",
    }
}

label! {
    /// What became of entries for the history of requests.
    Entries {
        Written = "written",
        /// There was no room for them until they could be written.
        Dropped = "dropped",
        /// Too many of one tunnel at a time.
        LeftOut = "left_out",
    }
}

label! {
    /// What is kept in the store bit by bit.
    Keeping {
        Statistics = "statistics",
        History = "history",
    }
}

impl Outcome {
    /// Whether the visitor did not get what it came for, although it wanted it and was to have it.
    pub(super) fn is_error(self) -> bool {
        !matches!(self, Self::Completed | Self::Reset | Self::Denied)
    }
}

impl StatusClass {
    /// That of a status; zero stands for none.
    pub(super) fn of(status: u16) -> Self {
        match status {
            0 => Self::Unanswered,
            1..200 => Self::Informational,
            200..300 => Self::Successful,
            300..400 => Self::Redirection,
            400..500 => Self::OfVisitor,
            500.. => Self::OfServer,
        }
    }
}

label! {
    /// Why the relay answers a request itself. Programs know it by this name, which never changes.
    FaultCode {
        BadRequest = "bad_request",
        Misdirected = "misdirected",
        UnknownTunnel = "unknown_tunnel",
        Denied = "denied",
        TokenNeeded = "token_needed",
        LoginNeeded = "login_needed",
        JwtNeeded = "jwt_needed",
        Unsigned = "unsigned",
        MethodNotAllowed = "method_not_allowed",
        HeaderTooLarge = "header_too_large",
        BodyTooLarge = "body_too_large",
        TooManyRequests = "too_many_requests",
        TooManyGuesses = "too_many_guesses",
        OverLimit = "over_limit",
        RequestTimeout = "request_timeout",
        NoClient = "no_client",
        ClientBusy = "client_busy",
        LocalRefused = "local_refused",
        LocalBroken = "local_broken",
        LocalTimeout = "local_timeout",
        Stopping = "stopping",
    }
}

label! {
    /// Which HTTP a visitor's connection speaks.
    WebVersion {
        Http1 = "1",
        Http2 = "2",
    }
}

impl Limit {
    /// Whether it is one source that is too many, or too often there.
    pub(crate) fn is_of_a_source(self) -> bool {
        matches!(self, Self::VisitorsPerSource | Self::NewVisitorsPerSource)
    }

    /// What is too many, to be read behind "too many".
    pub(crate) fn of_what(self) -> &'static str {
        match self {
            Self::Visitors => "visitors",
            Self::VisitorsPerTunnel => "visitors of the tunnel",
            Self::VisitorsPerSource => "visitors from one source",
            Self::VisitorsPerOwner => "visitors of the tunnel's owner",
            Self::VisitorsPerToken => "visitors for the client's token",
            Self::TunnelSharePerSource => "requests of the tunnel from one source",
            Self::ClientSharePerSource => "requests to the client from one source",
            Self::NewVisitorsPerSource => "new visitors from one source",
            Self::NewVisitorsPerTunnel => "new visitors of the tunnel",
            Self::RequestsPerSource => "requests from one source",
            Self::LoginsPerSource => "wrong passwords from one source",
            Self::SignedBodies => "bodies that have to be signed",
            Self::RequestHeads => "bytes for the heads of requests",
            Self::Windows => "bytes for the windows of HTTP/2",
            Self::Quota => "bytes for the client's quota",
            Self::QuotasPerToken => "quotas of tokens narrowed from one",
            Self::Sessions => "clients",
            Self::SessionsPerOwner => "sessions of one owner",
            Self::TunnelsPerSession => "tunnels in one session",
            Self::TunnelsPerToken => "tunnels for the token",
            Self::Handshakes => "handshakes",
            Self::HeldPorts => "held ports",
            Self::RatePerTunnel => "bytes a second for the tunnel",
            Self::RatePerOwner => "bytes a second for the tunnel's owner",
            Self::RatePerToken => "bytes a second for the client's token",
        }
    }
}
