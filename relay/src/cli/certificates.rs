//! The flags of the certificates with which visitors are served.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use shared::control::protocol::DomainName;

use crate::config::{
    AcmeChallenge, AcmeSettings, BadSetting, CertificateSettings, ExternalAccount,
};

/// Where the certificates come from that visitors see.
#[derive(Debug, Args)]
pub(super) struct CertificateArgs {
    /// A folder of certificates for visitors' HTTPS, in PEM: NAME.crt with NAME.key, or a folder NAME
    /// with fullchain.pem and privkey.pem
    #[arg(long, env = "RELAY_CERTS", value_name = "DIR")]
    certs: Option<PathBuf>,

    /// Order certificates for the hosts of tunnels from an authority, and renew them
    #[arg(long, env = "RELAY_ACME", value_parser = BoolishValueParser::new())]
    acme: bool,

    /// The authority's directory; others than Let's Encrypt have theirs in their manual
    #[arg(long, env = "RELAY_ACME_DIRECTORY", value_name = "URL",
          default_value = AcmeSettings::DIRECTORY)]
    acme_directory: String,

    /// Where the authority can reach you
    #[arg(long, env = "RELAY_ACME_EMAIL", value_name = "ADDRESS")]
    acme_email: Option<String>,

    /// You agree to the terms of service of the authority, which --acme needs
    #[arg(long, env = "RELAY_ACME_AGREE_TOS", value_parser = BoolishValueParser::new())]
    acme_agree_tos: bool,

    /// The name of the key of an account that you have with the authority already
    #[arg(long, env = "RELAY_ACME_EAB_KID", value_name = "ID",
          value_parser = NonEmptyStringValueParser::new())]
    acme_eab_kid: Option<String>,

    /// The file with that key, in base64url
    #[arg(long, env = "RELAY_ACME_EAB_KEY_FILE", value_name = "FILE")]
    acme_eab_key_file: Option<PathBuf>,

    /// How the authority sees that a host is yours [default: tls-alpn-01 where HTTPS is at port 443,
    /// else http-01]
    #[arg(long, env = "RELAY_ACME_CHALLENGE", value_name = "KIND")]
    acme_challenge: Option<AcmeChallenge>,

    /// Order one certificate for all hosts right below this domain, by dns-01
    #[arg(long, env = "RELAY_ACME_WILDCARD", value_name = "DOMAIN")]
    acme_wildcard: Option<DomainName>,

    /// The authority's own server has a certificate of an authority in this file
    #[arg(long, env = "RELAY_ACME_CA", value_name = "FILE")]
    acme_ca: Option<PathBuf>,
}

impl CertificateArgs {
    /// The settings that the arguments describe.
    ///
    /// # Errors
    ///
    /// Half of what belongs together.
    pub(super) fn into_settings(self) -> Result<CertificateSettings, BadSetting> {
        let bad = |key, must| Err(BadSetting { key, must });
        let external = match (self.acme_eab_kid, self.acme_eab_key_file) {
            (None, None) => None,
            (Some(kid), Some(key_file)) => Some(ExternalAccount { kid, key_file }),
            (Some(_), None) => return bad("acme-eab-kid", "needs acme-eab-key-file as well"),
            (None, Some(_)) => return bad("acme-eab-key-file", "needs acme-eab-kid as well"),
        };
        Ok(CertificateSettings {
            folder: self.certs,
            acme: AcmeSettings {
                on: self.acme,
                directory: self.acme_directory,
                email: self.acme_email,
                agree_tos: self.acme_agree_tos,
                external,
                challenge: self.acme_challenge,
                wildcard: self.acme_wildcard,
                ca: self.acme_ca,
            },
        })
    }
}
