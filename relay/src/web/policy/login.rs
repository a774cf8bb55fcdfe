//! A user and a password (Basic, RFC 7617).

use std::net::IpAddr;
use std::time::Instant;

use data_encoding::BASE64;
use hyper::header::{AUTHORIZATION, HeaderMap};
use shared::control::protocol::SecretDigest;

use super::guesses::Guesses;
use crate::web::Fault;

/// Those who may come in.
#[derive(Debug)]
pub(super) struct Login {
    /// `USER:PASSWORD` of each.
    users: Box<[SecretDigest]>,
    guesses: Guesses,
}

impl Login {
    /// `None`: everybody may.
    pub(super) fn new(users: &[SecretDigest]) -> Option<Self> {
        (!users.is_empty()).then(|| Self { users: users.into(), guesses: Guesses::new() })
    }

    /// Whether a request has the user and the password of one of them.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        visitor: IpAddr,
        now: Instant,
    ) -> Result<(), Fault> {
        let Some(login) = credentials(headers, "basic") else { return Err(Fault::LoginNeeded) };
        self.guesses.check(visitor, now)?;
        let login = BASE64.decode(login.as_bytes()).unwrap_or_default();
        // All are compared, so that the time does not tell which one it is.
        let known = self.users.iter().fold(false, |known, user| known | user.is_of(&login));
        if known {
            return Ok(());
        }
        self.guesses.was_wrong(visitor, now);
        Err(Fault::LoginNeeded)
    }
}

/// The local service has no use for it, and its log is none of the places for a password.
pub(super) fn forget(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
}

/// What stands behind the scheme in `Authorization`. `None`: it is of another one, or there is more
/// than one.
pub(crate) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (first, None) = (fields.next()?, fields.next()) else { return None };
    let (said, rest) = first.to_str().ok()?.trim().split_once(' ')?;
    said.eq_ignore_ascii_case(scheme).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::http::HeaderValue;

    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        let field = |field: &&str| (AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        fields.iter().map(field).collect()
    }

    fn basic(login: &str) -> String {
        format!("Basic {}", BASE64.encode(login.as_bytes()))
    }

    fn login() -> Login {
        let users = ["Aladdin:open sesame", "ann:a:b", "test:123\u{a3}"];
        Login::new(&users.map(|user| SecretDigest::of(user.as_bytes()))).unwrap()
    }

    const VISITOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn any_of_the_users_comes_in() {
        // The examples of RFC 7617, sections 2 and 2.1.
        for good in [
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic dGVzdDoxMjPCow==",
            &basic("ann:a:b"),
        ] {
            let checked = login().check(&headers(&[good]), VISITOR, Instant::now());
            assert_eq!(checked, Ok(()), "{good}");
        }
    }

    #[test]
    fn nobody_else_does() {
        let right = basic("ann:a:b");
        for bad in [
            vec![],
            vec!["Basic"],
            vec!["Basic ="],
            vec!["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ"],
            vec!["Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="],
            vec![&basic("ann:a")[..]],
            vec![&basic("Aladdin:a:b")[..]],
            vec![&basic("")[..]],
            vec![&right, &right],
        ] {
            let checked = login().check(&headers(&bad), VISITOR, Instant::now());
            assert_eq!(checked, Err(Fault::LoginNeeded), "{bad:?}");
        }
        assert!(Login::new(&[]).is_none());
    }

    #[test]
    fn whoever_guesses_is_slowed_down_and_nobody_else() {
        let (login, now) = (login(), Instant::now());
        let right = headers(&[&basic("ann:a:b")]);
        for n in 0..10 {
            assert_eq!(login.check(&right, VISITOR, now), Ok(()));
            let guess = headers(&[&basic(&format!("ann:{n}"))]);
            assert_eq!(login.check(&guess, VISITOR, now), Err(Fault::LoginNeeded));
            // Nothing was tried out.
            assert_eq!(login.check(&headers(&[]), VISITOR, now), Err(Fault::LoginNeeded));
        }
        let wait = Duration::from_secs(6);
        assert_eq!(login.check(&right, VISITOR, now), Err(Fault::TooManyGuesses(wait)));
        assert_eq!(login.check(&right, [192, 0, 2, 2].into(), now), Ok(()));
        assert_eq!(login.check(&right, VISITOR, now + wait), Ok(()));
    }

    #[test]
    fn the_password_goes_no_further() {
        let mut headers = headers(&[&basic("ann:a:b")]);
        forget(&mut headers);
        assert!(headers.is_empty());
    }
}
