//! What stands in a certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::CertName;

/// What the relay has to know of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Details {
    /// What it is for, as far as visitors can ask for it.
    pub(super) names: Vec<CertName>,
    pub(super) begins: SystemTime,
    pub(super) expires: SystemTime,
}

impl Details {
    /// `None`: it cannot be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let validity = parsed.validity();
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            _ => None,
        });
        Some(Self {
            names: names.collect(),
            begins: time(validity.not_before),
            expires: time(validity.not_after),
        })
    }
}

/// Nothing is of interest that was before 1970.
fn time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn names_and_times_are_read_and_what_nobody_can_ask_for_is_left_out() {
        let key = KeyPair::generate().unwrap();
        let names = ["App.t.example", "*.t.example", "127.0.0.1", "relay"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let details = Details::of(params.self_signed(&key).unwrap().der()).unwrap();
        let names: Vec<_> = details.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["app.t.example", "*.t.example"]);
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds(details.begins), 1_893_456_000);
        assert_eq!(seconds(details.expires), 2_208_988_800);
        assert!(Details::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
