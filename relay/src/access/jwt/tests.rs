//! Tokens that are good, and the many ways in which they are not.

use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::check::BAD_SIGNATURE;
use super::*;
use crate::access::Rights;

/// A pair of keys: what signs, and the file that checks it.
struct Signer {
    algorithm: Algorithm,
    signs: EncodingKey,
    checks: String,
}

/// How long a test waits for what should be so at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A public key of RSA with 1024 bits.
const SHORT_RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
     MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDXSAdYn2njHpAi3zwtGEYxc9D8\n\
     0eTXslDSmTtkiasPInzNz8y1UE+UVCvX/X52R5OfkrLSgzEeo4vwaW9Kzr2dU+zI\n\
     fU9449yp90pSogBYQ32Dgzh9s90gbtUxPDqThK3G7Y5cL7WMmUA8MVI0JLPKpoBs\n\
     8/qE4LEmap8wPG+uVQIDAQAB\n\
     -----END PUBLIC KEY-----";

const SHARED: &str = "0123456789abcdef0123456789abcdef";

fn hmac() -> Signer {
    Signer {
        algorithm: Algorithm::HS256,
        signs: EncodingKey::from_secret(SHARED.as_bytes()),
        checks: format!("hs256:{SHARED}\n"),
    }
}

fn pair(algorithm: Algorithm) -> Signer {
    let kind: &'static rcgen::SignatureAlgorithm = match algorithm {
        Algorithm::EdDSA => &rcgen::PKCS_ED25519,
        Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        _ => &rcgen::PKCS_RSA_SHA256,
    };
    let pair = rcgen::KeyPair::generate_for(kind).unwrap();
    let private = pair.serialize_pem();
    let signs = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
        Algorithm::ES256 => EncodingKey::from_ec_pem(private.as_bytes()),
        _ => EncodingKey::from_rsa_pem(private.as_bytes()),
    };
    Signer { algorithm, signs: signs.unwrap(), checks: pair.public_key_pem() }
}

fn all() -> [Signer; 4] {
    [hmac(), pair(Algorithm::EdDSA), pair(Algorithm::ES256), pair(Algorithm::RS256)]
}

fn rules(keys: &str) -> JwtRules {
    let keys = JwtKeys::parse(keys).unwrap();
    JwtRules { keys, audience: "sallyport".into(), issuer: Some("issuer".into()) }
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.as_secs() as i64 + seconds
}

/// Claims that are good, with some of them changed; `null` takes one away.
fn claims(changes: &Value) -> Value {
    let mut claims =
        json!({"sub": "ann", "aud": "sallyport", "iss": "issuer", "exp": in_seconds(60)});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn signed(signer: &Signer, changes: &Value) -> String {
    encode(&Header::new(signer.algorithm), &claims(changes), &signer.signs).unwrap()
}

fn admit(jwt: &str, rules: &JwtRules) -> Result<Admitted, String> {
    let all = Jwt::default();
    all.set_rules(Some(rules));
    all.admit(jwt, Some(rules)).map_err(|refusal| refusal.message)
}

#[test]
fn all_four_algorithms_are_good() {
    for signer in all() {
        let grant = json!({"sallyport": {"tunnels": ["web-*"], "ports": "9000-9010"}});
        let Admitted { owner, grants, .. } =
            admit(&signed(&signer, &grant), &rules(&signer.checks)).unwrap();
        assert_eq!(owner.to_string(), "jwt:ann");
        let rights = Rights::new(grants.into_iter().map(|(_, grant)| grant).collect());
        assert!(rights.check_name(&"web-1".parse().unwrap()).is_ok());
        assert!(rights.check_name(&"db".parse().unwrap()).is_err() && !rights.may_have(80));
        let left = rights.ends().unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(left <= Duration::from_secs(60));
    }
}

#[test]
fn claims_that_are_not_for_us_are_refused_each_with_a_word() {
    let signer = hmac();
    let rules = rules(&signer.checks);
    for (changes, says) in [
        (json!({"exp": in_seconds(-1)}), "expired"),
        (json!({"exp": null}), "`exp`"),
        (json!({"nbf": in_seconds(60)}), "not good yet"),
        (json!({"nbf": "soon"}), "`nbf` is no number"),
        (json!({"aud": "other"}), "somebody else"),
        (json!({"aud": null}), "`aud`"),
        (json!({"iss": "other"}), "this issuer"),
        (json!({"iss": null}), "`iss`"),
        (json!({"sub": null}), "`sub`"),
        (json!({"sub": "a\nb"}), "no name for an owner"),
        (json!({"sub": "x".repeat(65)}), "no name for an owner"),
        (json!({"sallyport": {"moon": "full"}}), "moon"),
        // What could be meant as nothing is not taken for everything.
        (json!({"sallyport": {"tunnels": []}}), "an empty list"),
        (json!({"sallyport": []}), "expected a map"),
    ] {
        let refused = admit(&signed(&signer, &changes), &rules).unwrap_err();
        assert!(refused.contains(says), "{changes}: {refused}");
    }
}

#[test]
fn tokens_of_a_subject_count_together_as_long_as_their_rights_are_the_same() {
    let signer = hmac();
    let rules = rules(&signer.checks);
    let counted_as = |sub: &str, expires_in: i64, rights: Value| {
        let claims = json!({"sub": sub, "exp": in_seconds(expires_in), "sallyport": rights});
        let admitted = admit(&signed(&signer, &claims), &rules).unwrap();
        admitted.grants.iter().find_map(|(link, _)| *link).unwrap()
    };
    let strict = json!({"max-visitors": 1, "quota": "1kB/day"});
    let ann = counted_as("ann", 60, strict.clone());
    let later = json!({"quota": "1kB/day", "max-visitors": 1, "expires": in_seconds(600)});
    assert_eq!(counted_as("ann", 90, later), ann, "the next one, written otherwise");
    assert_ne!(counted_as("bob", 60, strict), ann);
    assert_ne!(counted_as("ann", 60, json!({"max-tunnels": 9})), ann);
}

#[test]
fn the_key_decides_on_the_algorithm_and_not_the_token() {
    for signer in all() {
        let rules = rules(&signer.checks);
        // The text of the file, which for a public key everybody may know.
        let confused = Signer {
            algorithm: Algorithm::HS256,
            signs: EncodingKey::from_secret(signer.checks.trim().as_bytes()),
            checks: String::new(),
        };
        assert_eq!(admit(&signed(&confused, &json!({})), &rules).unwrap_err(), BAD_SIGNATURE);
        let good = signed(&signer, &json!({}));
        let (_, rest) = good.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, r#"{"alg":"PS256"}"#, "{}"] {
            let header = data_encoding::BASE64URL_NOPAD.encode(header.as_bytes());
            for signature in ["", signature] {
                let forged = format!("{header}.{payload}.{signature}");
                assert_eq!(admit(&forged, &rules).unwrap_err(), BAD_SIGNATURE, "{forged}");
            }
        }
        let other = pair(Algorithm::EdDSA);
        assert_eq!(admit(&signed(&other, &json!({})), &rules).unwrap_err(), BAD_SIGNATURE);
        assert_eq!(admit("a.b.c", &rules).unwrap_err(), BAD_SIGNATURE);
    }
}

#[test]
fn a_set_of_keys_is_searched_by_name_and_algorithm() {
    let [first, second] = [pair(Algorithm::ES256), pair(Algorithm::ES256)];
    let jwk = |signer: &Signer, id: &str| {
        let mut jwk = Jwk::from_encoding_key(&signer.signs, signer.algorithm).unwrap();
        jwk.common.key_id = Some(id.into());
        serde_json::to_value(jwk).unwrap()
    };
    let other = json!({"kty": "OKP", "crv": "X25519", "x": "AAAA"});
    let set = json!({"keys": [other, jwk(&first, "a"), jwk(&second, "b")]}).to_string();
    let rules = rules(&set);
    let named = |signer: &Signer, id: Option<&str>| {
        let mut header = Header::new(signer.algorithm);
        header.kid = id.map(str::to_owned);
        encode(&header, &claims(&json!({})), &signer.signs).unwrap()
    };
    for id in [Some("b"), Some("not there"), None] {
        assert!(admit(&named(&second, id), &rules).is_ok(), "{id:?}");
    }
    assert_eq!(admit(&named(&second, Some("a")), &rules).unwrap_err(), BAD_SIGNATURE);
}

/// A set with a key of RSA, whose modulus has so many bytes and begins with `first`.
fn rsa_set(bytes: usize, first: u8) -> String {
    let mut modulus = vec![0xff; bytes];
    modulus[0] = first;
    let n = data_encoding::BASE64URL_NOPAD.encode(&modulus);
    json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}).to_string()
}

#[test]
fn files_without_a_key_to_check_with_are_refused_and_not_shown() {
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (text, err) in [
        (private.as_str(), BadJwtKeys::Private),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", BadJwtKeys::Unknown),
        (&format!("{}{}", pair(Algorithm::EdDSA).checks, SHORT_RSA), BadJwtKeys::Several),
        (SHORT_RSA, BadJwtKeys::Length),
        ("hs256: short", BadJwtKeys::TooShort),
        ("hs256:", BadJwtKeys::TooShort),
        (
            "hs256: -----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
            BadJwtKeys::Public,
        ),
        (r#"hs256:{"keys":[]                                           }"#, BadJwtKeys::Public),
        ("", BadJwtKeys::NoKey),
        (r#"{"keys":[]}"#, BadJwtKeys::NoneUsable),
        (&rsa_set(128, 0x80), BadJwtKeys::NoneUsable),
        (&rsa_set(256, 0x7f), BadJwtKeys::NoneUsable),
        (&rsa_set(1025, 0x01), BadJwtKeys::NoneUsable),
    ] {
        assert_eq!(JwtKeys::parse(text).unwrap_err(), err, "{text}");
    }
    assert!(JwtKeys::parse(&rsa_set(256, 0x80)).is_ok());
    let x = data_encoding::BASE64URL_NOPAD.encode(&[7; 32]);
    let set = |keys: Value| JwtKeys::parse(&json!({"keys": keys}).to_string()).map(|_| ());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        set(json!([key]))
    };
    assert_eq!(set(json!([key])), Ok(()));
    assert_eq!(with("key_ops", json!(["verify"])), Ok(()));
    assert_eq!(with("key_ops", json!(["encrypt"])), Err(BadJwtKeys::NoneUsable));
    assert_eq!(with("d", json!("AAAA")), Err(BadJwtKeys::Private));
    assert_eq!(set(vec![key.clone(); 33].into()), Err(BadJwtKeys::TooMany));
    assert!(JwtKeys::parse("hs256:{a good key that begins like this}").is_ok());
    assert!(matches!(JwtKeys::parse("{").unwrap_err(), BadJwtKeys::Set(_)));
    let shown = format!("{:?}", rules(&hmac().checks));
    assert!(!shown.contains(SHARED), "{shown}");
}

#[test]
fn what_may_be_a_public_key_is_never_taken_for_a_shared_one() {
    let pem = pair(Algorithm::EdDSA).checks;
    let lines: Vec<_> = pem.lines().collect();
    let base64 = lines[1..lines.len() - 1].concat();
    for text in [
        format!("\u{feff}{pem}"),
        format!("# our key\n{pem}"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvYidzIHB1YmxpYyBrZXkgaXMga25vd24 bob@home".into(),
        r#"[{"kty":"OKP","crv":"Ed25519","x":"Ym9iJ3MgcHVibGljIGtleSBpcyBrbm93biE"}]"#.into(),
        "https://login.example/.well-known/jwks.json".into(),
        base64,
        SHARED.into(),
    ] {
        let err = JwtKeys::parse(&text).unwrap_err();
        assert_eq!(err, BadJwtKeys::NoKey, "{text}");
        assert!(err.to_string().contains("`hs256:`"), "{err}");
    }
}

#[test]
fn a_shared_key_may_also_stand_in_a_set() {
    let key = data_encoding::BASE64URL_NOPAD.encode(SHARED.as_bytes());
    let set = json!({"keys": [{"kty": "oct", "alg": "HS256", "k": key}]}).to_string();
    assert!(admit(&signed(&hmac(), &json!({})), &rules(&set)).is_ok());
}

#[tokio::test]
async fn whoever_came_with_a_key_that_is_taken_away_has_to_go() {
    let [signer, other] = [hmac(), pair(Algorithm::EdDSA)];
    let [first, second] = [rules(&signer.checks), rules(&other.checks)];
    let jwt = Jwt::default();
    jwt.set_rules(Some(&first));
    let admitted = jwt.admit(&signed(&signer, &json!({})), Some(&first)).unwrap();
    jwt.set_rules(Some(&second));
    let why = timeout(PATIENCE, admitted.standing.ended()).await.unwrap();
    assert!(why.message.contains("does not take this key any more"), "{why}");
    assert!(jwt.admit(&signed(&other, &json!({})), Some(&second)).is_ok());
}

#[tokio::test]
async fn whoever_came_for_another_audience_or_from_another_issuer_has_to_go() {
    let signer = hmac();
    let before = rules(&signer.checks);
    let other = |text: &str| text.to_owned();
    for after in [
        JwtRules { audience: other("other"), ..before.clone() },
        JwtRules { issuer: Some(other("other")), ..before.clone() },
    ] {
        let jwt = Jwt::default();
        jwt.set_rules(Some(&before));
        let admitted = jwt.admit(&signed(&signer, &json!({})), Some(&before)).unwrap();
        jwt.set_rules(Some(&after));
        let why = timeout(PATIENCE, admitted.standing.ended()).await.unwrap();
        assert!(why.message.contains("another audience or"), "{why}");
        // Whoever was being looked at by the rules of before comes too late.
        assert!(jwt.admit(&signed(&signer, &json!({})), Some(&before)).is_err());
    }
}
