//! Rules together, in their order.

use std::net::IpAddr;

use data_encoding::BASE64;
use hyper::Request;
use hyper::http::HeaderValue;
use shared::control::protocol::SecretDigest;

use super::*;

/// A request without TLS for `app.example`.
pub(super) fn arrival() -> Arrival {
    Arrival {
        host: "app.example".into(),
        prefix: None,
        visitor: IpAddr::from([192, 0, 2, 1]),
        is_tls: false,
        https_port: 443,
    }
}

fn request(target: &'static str, fields: &[(&str, &str)]) -> (Parts, PathAndQuery) {
    let mut request = Request::get(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    (head, PathAndQuery::from_static(target))
}

fn strict() -> HttpOptions {
    HttpOptions {
        redirect_https: true,
        redirect: vec![("/old".into(), "/new".into())],
        rate: Some("3/1m".parse().unwrap()),
        token: Some(SecretDigest::of(b"t0ken")),
        auth: vec![SecretDigest::of(b"ann:secret")],
        ..HttpOptions::default()
    }
}

fn fault(policy: &Policy, request: &(Parts, PathAndQuery), arrival: &Arrival) -> &'static str {
    match policy.admit(&request.0, &request.1, arrival) {
        Ok(()) => "",
        Err(Verdict::Fault(fault)) => fault.code(),
        Err(Verdict::Redirect { status, .. }) if status == 308 => "https",
        Err(Verdict::Redirect { .. }) => "moved",
    }
}

#[test]
fn the_first_rule_that_does_not_let_a_request_on_decides() {
    let policy = Policy::new(&strict()).unwrap();
    let basic = format!("Basic {}", BASE64.encode(b"ann:secret"));
    let (plain, tls) = (arrival(), Arrival { is_tls: true, ..arrival() });
    assert_eq!(fault(&policy, &request("/old", &[]), &plain), "https");
    assert_eq!(fault(&policy, &request("/old", &[]), &tls), "moved");
    assert_eq!(fault(&policy, &request("/", &[]), &tls), "token_needed");
    assert_eq!(fault(&policy, &request("/?tunnel_token=t0ken", &[]), &tls), "login_needed");
    let good = request("/?tunnel_token=t0ken", &[("authorization", &basic)]);
    assert_eq!(fault(&policy, &good, &tls), "");
    // The fourth that was let on by those before.
    assert_eq!(fault(&policy, &good, &tls), "too_many_requests");
    let other = Arrival { visitor: [192, 0, 2, 2].into(), ..tls };
    assert_eq!(fault(&policy, &good, &other), "");
}

#[test]
fn the_local_service_sees_no_secret_that_was_for_the_relay() {
    let fields = [("authorization", "Basic YTpi"), ("x-tunnel-token", "t0ken"), ("cookie", "a=b")];
    let seen = |options: &HttpOptions| {
        let (mut head, mut target) = request("/a?tunnel_token=t0ken&b", &fields);
        let policy = Policy::new(options).unwrap();
        policy.forget(&mut head, &mut target);
        policy.prepare(&mut head);
        let authorization = head.headers.get("authorization").cloned();
        (head.headers.len(), authorization, target.to_string())
    };
    assert_eq!(seen(&strict()), (1, None, "/a?b".to_owned()));
    let own =
        HttpOptions { add_header: vec![("authorization".into(), "Bearer own".into())], ..strict() };
    let bearer = Some(HeaderValue::from_static("Bearer own"));
    assert_eq!(seen(&own), (2, bearer, "/a?b".to_owned()));
    // They are the local service's own then.
    let basic = Some(HeaderValue::from_static("Basic YTpi"));
    let none = (3, basic, "/a?tunnel_token=t0ken&b".to_owned());
    assert_eq!(seen(&HttpOptions::default()), none);
}

#[test]
fn one_authorization_is_not_asked_for_two_things() {
    let jwt = shared::control::protocol::JwtCheck {
        keys: "hs256:0123456789abcdef0123456789abcdef".into(),
        audience: "app".into(),
        issuer: None,
    };
    let alone = HttpOptions { jwt: Some(jwt), ..HttpOptions::default() };
    assert!(Policy::new(&alone).is_ok());
    let both = HttpOptions { auth: strict().auth, ..alone };
    assert!(Policy::new(&both).unwrap_err().to_string().starts_with("jwt: "));
}
