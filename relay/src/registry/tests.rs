use shared::carry::mux;
use shared::control::protocol::{EntranceRequest, InstanceId};
use shared::kit::net::Rules;

use super::*;
use crate::access::Principal;
use crate::certs::VisitorCerts;
use crate::config::{CertificateSettings, Config};
use crate::domains::Domains;
use crate::limits::Terms;
use crate::target::{SessionTarget, Target};
use crate::tunnel::ConnectionId;

fn claimant(connection: ConnectionId) -> Arc<Claimant> {
    claimant_of(connection, Principal::default())
}

fn claimant_of(connection: ConnectionId, principal: Principal) -> Arc<Claimant> {
    let (io, _) = tokio::io::duplex(64);
    let (mux, _, _) = mux::start(io, shared::carry::Role::Relay, 1);
    let target = Target::Session(SessionTarget::new(1, mux, 1));
    let source = ([127, 0, 0, 1], 1).into();
    Arc::new(Claimant::new(connection, principal, target, source))
}

/// A registry with the tunnel `default` alone.
async fn registry() -> (Registry, Opened) {
    let config = CurrentConfig::new(Config::loopback());
    let (limits, metrics) = (Limits::new(config.now().descriptors), Metrics::new(|| 0).unwrap());
    let domains = Domains::new(config.clone(), None, metrics.clone()).await.unwrap();
    let settings = CertificateSettings::default();
    let certs =
        VisitorCerts::new(&settings, None, Vec::new(), None, domains.clone(), metrics.clone());
    let hosting = Hosting { front: WebFront::default(), domains, certs: certs.await.unwrap() };
    let (registry, _openings) =
        Registry::new(config, limits, metrics, CancellationToken::new(), hosting);
    let default = registry.open_default(Entrance::Port(1));
    (registry, default)
}

fn default_tunnel() -> [TunnelRequest; 1] {
    [TunnelRequest {
        destination: false,
        rules: Rules::default(),
        http: None,
        name: TunnelName::default_tunnel(),
        entrances: vec![EntranceRequest::Tcp { port: None, prefer: None }],
        local: String::new(),
        withdraw: false,
        healthy: true,
    }]
}

fn peer() -> Peer {
    Peer { agent: "test".into(), address: ([127, 0, 0, 1], 1).into() }
}

#[tokio::test]
async fn a_handshake_that_was_overtaken_takes_nothing_from_the_newer_one() {
    let (registry, _default) = registry().await;
    let connection = ConnectionId { instance: InstanceId::random(), number: 0 };
    let requests = default_tunnel();
    let join = || registry.join(connection, Principal::default(), peer()).unwrap();
    let (stale, fresh) = (join(), join());
    let claims = registry.claim(&fresh, &requests, &claimant(connection)).await.unwrap();
    let refused = registry.claim(&stale, &requests, &claimant(connection)).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::Replaced);
    drop(stale);
    assert!(claims[0].is_live());
    assert!(registry.claim(&fresh, &requests, &claimant(connection)).await.is_ok(), "the latest");
}

#[tokio::test]
async fn whoever_has_all_that_it_may_have_is_refused_before_anything_is_bound() {
    // Nobody binds anything: a tunnel that got that far would be refused for another reason.
    let (registry, _default) = registry().await;
    let connection = ConnectionId { instance: InstanceId::random(), number: 0 };
    let account = registry.0.limits.owner("ann");
    account.set_terms(Terms { max_tunnels: Some(1), ..Terms::default() });
    let principal = Principal::of_user("ann", account);
    let ann = registry.join(connection, principal.clone(), peer()).unwrap();
    let claimant = claimant_of(connection, principal);
    let _claims = registry.claim(&ann, &default_tunnel(), &claimant).await.unwrap();
    let [default] = default_tunnel();
    let more = [TunnelRequest { name: "more".parse().unwrap(), ..default }];
    let refused = registry.claim(&ann, &more, &claimant).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::OverLimit, "{refused}");
    // What was looked at is not taken up.
    assert!(registry.claim(&ann, &default_tunnel(), &claimant).await.is_ok());
}

#[tokio::test]
async fn a_session_is_replaced_by_its_own_owner_alone() {
    let (registry, _default) = registry().await;
    let connection = ConnectionId { instance: InstanceId::random(), number: 0 };
    let join = |name: &str| {
        let principal = Principal::of_user(name, registry.0.limits.owner(name));
        registry.join(connection, principal, peer()).unwrap()
    };
    let (ann, eve) = (join("ann"), join("eve"));
    let claims = registry.claim(&ann, &default_tunnel(), &claimant(connection)).await.unwrap();
    drop(eve);
    assert!(claims[0].is_live());
    let seen = registry.snapshot();
    assert_eq!(seen.sessions.iter().map(|now| &*now.owner).collect::<Vec<_>>(), ["ann"]);
    drop(claims);

    let again = join("ann");
    ann.replaced().await;
    assert!(registry.claim(&again, &default_tunnel(), &claimant(connection)).await.is_ok());
}
