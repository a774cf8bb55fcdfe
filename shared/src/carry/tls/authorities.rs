//! Whom those trust who have not been told whom to.

use rustls::RootCertStore;
use tracing::debug;

/// The authorities that the system trusts; where it names none, those that browsers trust.
pub fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for err in &found.errors {
        debug!("of the system's authorities: {err}");
    }
    let mut roots = RootCertStore::empty();
    // Some systems have a few that nobody can read any more.
    let (good, _bad) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
