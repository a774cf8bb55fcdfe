//! The operator's own certificates, in a folder.

use std::fs;
use std::os::unix::fs::symlink;

use relay::{AcmeSettings, CertificateSettings};
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tests::acme::{Certified, Pebble, Visitors};
use tests::process::{Program, own_host};
use tests::{Authority, Folder, eventually};

const HOST: &str = "app.t.example";

/// An authority, the folder of its certificates, and a relay that shows them.
struct Own {
    authority: Authority,
    folder: Folder,
    visitors: Visitors,
    relay: Certified,
}

impl Own {
    /// After `prepare` has put something into the folder.
    async fn start(prepare: impl FnOnce(&Authority, &Folder)) -> Self {
        let (authority, folder) = (Authority::new(), Folder::new());
        prepare(&authority, &folder);
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a root");
        let certificates = CertificateSettings {
            folder: Some(folder.path().to_owned()),
            acme: AcmeSettings::default(),
        };
        let relay = Certified::start_with(own_host(), |settings| {
            settings.certificates = certificates;
        })
        .await;
        Self { authority, folder, visitors: Visitors::trusting(root), relay }
    }

    async fn shown(&self, host: &str) -> Option<CertificateDer<'static>> {
        self.relay.shown(&self.visitors, host).await
    }
}

#[tokio::test]
async fn certificates_are_shown_for_the_names_that_stand_in_them_and_for_no_others() {
    let own = Own::start(|authority, folder| {
        authority.relay("*.t.example").write(folder, "wide.crt", "wide.key");
        authority.relay(HOST).write(folder, "narrow.crt", "narrow.key");
        fs::create_dir(folder.file("bot")).expect("a folder");
        authority.relay("bot.example").write(folder, "bot/fullchain.pem", "bot/privkey.pem");
    })
    .await;
    let narrow = own.shown(HOST).await.expect("a certificate");
    let wide = own.shown("b.t.example").await.expect("a certificate");
    assert!(narrow != wide);
    assert!(own.shown("bot.example").await.is_some());
    for nobody in ["t.example", "a.b.t.example", "other.example"] {
        assert!(own.shown(nobody).await.is_none(), "{nobody}");
    }
    let series = "relay_certificate_expiry_timestamp_seconds{name=\"*.t.example\"}";
    assert!(own.relay.metrics().await.value(series).is_some());
    own.relay.stop().await;
}

#[tokio::test]
async fn a_visitor_that_comes_back_needs_no_certificate() {
    let own = Own::start(|authority, folder| {
        authority.relay(HOST).write(folder, "app.crt", "app.key");
    })
    .await;
    let visitors = own.visitors.resuming();
    let kinds =
        [own.relay.handshake(&visitors, HOST).await, own.relay.handshake(&visitors, HOST).await];
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    own.relay.stop().await;
}

#[tokio::test]
async fn what_changes_in_the_folder_is_shown_and_what_is_bad_changes_nothing() {
    let own = Own::start(|authority, folder| {
        authority.relay(HOST).write(folder, "app.crt", "app.key");
    })
    .await;
    let first = own.shown(HOST).await.expect("a certificate");

    // Another one without its key, and beside it a new one: when that is there, both were read.
    let second = own.authority.relay(HOST);
    second.write(&own.folder, "app.crt", "unused");
    own.authority.relay("b.t.example").write(&own.folder, "b.crt", "b.key");
    eventually("the new one", async || own.shown("b.t.example").await.is_some()).await;
    assert_eq!(own.shown(HOST).await, Some(first.clone()));

    second.write(&own.folder, "app.crt", "app.key");
    own.relay.serves_another(&own.visitors, HOST, Some(&first)).await;

    for file in ["app.crt", "app.key"] {
        fs::remove_file(own.folder.file(file)).expect("a file");
    }
    eventually("it to be gone", async || own.shown(HOST).await.is_none()).await;
    assert!(own.shown("b.t.example").await.is_some());
    own.relay.stop().await;
}

/// As certbot and Kubernetes do it.
#[tokio::test]
async fn a_link_that_is_swapped_is_followed_each_time() {
    let version = |authority: &Authority, folder: &Folder, name: &str| {
        fs::create_dir(folder.file(name)).expect("a folder");
        let identity = authority.relay(HOST);
        identity.write(folder, &format!("{name}/tls.crt"), &format!("{name}/tls.key"));
    };
    let own = Own::start(|authority, folder| {
        version(authority, folder, "..1");
        symlink("..1", folder.file("..data")).expect("a link");
        for file in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{file}"), folder.file(file)).expect("a link");
        }
    })
    .await;
    let mut seen = own.shown(HOST).await.expect("a certificate");
    for name in ["..2", "..3"] {
        version(&own.authority, &own.folder, name);
        symlink(name, own.folder.file("..new")).expect("a link");
        fs::rename(own.folder.file("..new"), own.folder.file("..data")).expect("a swap");
        seen = own.relay.serves_another(&own.visitors, HOST, Some(&seen)).await;
    }
    own.relay.stop().await;
}

#[tokio::test]
async fn nothing_is_ordered_for_hosts_that_the_operators_own_certificates_cover() {
    let (pebble, data, folder) = (Pebble::start().await, Folder::new(), Folder::new());
    Authority::new().relay("*.t.example").write(&folder, "wide.crt", "wide.key");
    let certificates =
        CertificateSettings { folder: Some(folder.path().to_owned()), acme: pebble.settings() };
    let relay = Certified::start_with(pebble.host(), |settings| {
        settings.data = Some(data.file("data"));
        settings.certificates = certificates;
    })
    .await;
    let _wanted = [HOST, "other.example"].map(|host| relay.certs.want(host.parse().unwrap()));
    relay.serves(&pebble.visitors().await, "other.example").await;
    assert_eq!(pebble.orders(), 1);
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_says_at_once_what_is_missing() {
    let cases: [(&[&str], &str); 8] = [
        (&["--certs", "/nonexistent"], "certs: /nonexistent: No such file"),
        (&["--acme", "--data", "/tmp"], "acme needs acme-agree-tos"),
        (&["--acme", "--acme-agree-tos"], "acme needs data or database"),
        (&["--acme-challenge", "dns-01"], "dns-01 needs dns-update, or dns-hook"),
        (&["--acme-ca", "/nonexistent"], "acme-ca: /nonexistent: is not there"),
        (&["--dns-hook", "/nonexistent"], "dns-hook: /nonexistent: there is no such program"),
        (&["--dns-hook", "/"], "dns-hook: /: it is no program"),
        (&["--acme-eab-kid", "one"], "acme-eab-kid needs acme-eab-key-file"),
    ];
    for (args, expected) in cases {
        let (status, _, said) = Program::relay().args(["check"]).args(args).output().await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
