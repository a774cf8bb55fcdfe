use shared::carry::mux;
use shared::control::protocol::{EntranceRequest, InstanceId};
use shared::kit::net::Rules;

use super::*;
use crate::access::Principal;
use crate::config::Config;
use crate::target::{SessionTarget, Target};

fn claimant(connection: ConnectionId) -> Claimant {
    let (io, _) = tokio::io::duplex(64);
    let (mux, _, _) = mux::start(io, shared::carry::Role::Relay, 1);
    let target = Target::Session(SessionTarget::new(mux, 1));
    Claimant::new(connection, Principal::default(), target, ([127, 0, 0, 1], 1).into())
}

#[tokio::test]
async fn a_handshake_that_was_overtaken_takes_nothing_from_the_newer_one() {
    let config = Config::loopback();
    let limits = Limits::new(config.descriptors);
    let (registry, _openings) = Registry::new(
        CurrentConfig::new(config),
        limits,
        Metrics::new(|| 0).unwrap(),
        CancellationToken::new(),
    );
    let _default = registry.open_default(Entrance::Port(1));
    let connection = ConnectionId { instance: InstanceId::random(), number: 0 };
    let requests = [TunnelRequest {
        destination: false,
        rules: Rules::default(),
        name: TunnelName::default_tunnel(),
        entrances: vec![EntranceRequest::Tcp { port: None, prefer: None }],
        local: String::new(),
        withdraw: false,
        healthy: true,
    }];

    let peer = || Peer { agent: "test".into(), address: ([127, 0, 0, 1], 1).into() };
    let join = || registry.join(connection, Principal::default(), peer()).unwrap();
    let (stale, fresh) = (join(), join());
    // Nobody else has it.
    let account = registry.0.limits.owner("ann");
    let ann = Principal::of_user("ann", account);
    let refused = registry.join(connection, ann, peer()).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Forbidden);
    let claims = registry.claim(&fresh, &requests, &claimant(connection)).await.unwrap();
    let refused = registry.claim(&stale, &requests, &claimant(connection)).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::Replaced);
    drop(stale);
    assert!(claims[0].is_live());
    assert!(registry.claim(&fresh, &requests, &claimant(connection)).await.is_ok(), "the latest");
}
