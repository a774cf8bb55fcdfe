//! The files of the board, as they are in `relay/board`.

/// The page. `MODULES` and `VERSION` in it are replaced.
pub(super) const PAGE: &str = include_str!("../../../board/index.html");

/// Everything else, by name.
pub(super) const FILES: [(&str, &str); 28] = [
    ("api.js", include_str!("../../../board/api.js")),
    ("app.js", include_str!("../../../board/app.js")),
    ("base.css", include_str!("../../../board/base.css")),
    ("chart.js", include_str!("../../../board/chart.js")),
    ("dialogs.js", include_str!("../../../board/dialogs.js")),
    ("dom.js", include_str!("../../../board/dom.js")),
    ("features.js", include_str!("../../../board/features.js")),
    ("format.js", include_str!("../../../board/format.js")),
    ("icon.svg", include_str!("../../../board/icon.svg")),
    ("icons.js", include_str!("../../../board/icons.js")),
    ("keys.js", include_str!("../../../board/keys.js")),
    ("live.js", include_str!("../../../board/live.js")),
    ("page_bans.js", include_str!("../../../board/page_bans.js")),
    ("page_certificates.js", include_str!("../../../board/page_certificates.js")),
    ("page_domains.js", include_str!("../../../board/page_domains.js")),
    ("page_login.js", include_str!("../../../board/page_login.js")),
    ("page_overview.js", include_str!("../../../board/page_overview.js")),
    ("page_sessions.js", include_str!("../../../board/page_sessions.js")),
    ("page_tokens.js", include_str!("../../../board/page_tokens.js")),
    ("page_tunnel.js", include_str!("../../../board/page_tunnel.js")),
    ("page_tunnels.js", include_str!("../../../board/page_tunnels.js")),
    ("page_users.js", include_str!("../../../board/page_users.js")),
    ("pages.css", include_str!("../../../board/pages.css")),
    ("parts.css", include_str!("../../../board/parts.css")),
    ("parts.js", include_str!("../../../board/parts.js")),
    ("qr.js", include_str!("../../../board/qr.js")),
    ("theme.js", include_str!("../../../board/theme.js")),
    ("virtual.js", include_str!("../../../board/virtual.js")),
];
