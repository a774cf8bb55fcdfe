//! The URL of a database, looked at before anybody uses it: it is read as what connects reads it.
//!
//! That one logs what it does not know, with its value, which may be a password.

use shared::kit::nearest::did_you_mean;
use url::Url;

/// The parameters that the URL of a database may have. There may also be some called `options[NAME]`.
const KNOWN: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The longest parameter that is named in a complaint.
const LONGEST_NAME: usize = 24;

/// Whether there is a password in the URL, or what is meant to be one.
pub(super) fn has_password(url: &str) -> bool {
    let is_one = |name: &str| name.eq_ignore_ascii_case("password");
    match Url::parse(url) {
        Ok(url) => url.password().is_some() || url.query_pairs().any(|(name, _)| is_one(&name)),
        Err(_) => url.rsplit_once('@').is_some_and(|(before, _)| before.matches(':').count() > 1),
    }
}

/// Checks that the URL has no parameters but those that are known.
///
/// # Errors
///
/// What is wrong, for a person; no value is in it, and nothing that may be one.
pub(super) fn check_parameters(url: &str) -> Result<(), String> {
    // What is no URL at all is refused by whoever connects, without a word of it.
    let Ok(url) = Url::parse(url) else { return Ok(()) };
    // Something else may be a part of a password that should have been encoded.
    let is_plain = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        name.len() <= LONGEST_NAME && name.chars().all(is_part)
    };
    let is_option = |name: &str| name.starts_with("options[") && name.ends_with(']');
    let mut names = url.query_pairs().map(|(name, _)| name);
    match names.find(|name| !KNOWN.contains(&&**name) && !is_option(name)) {
        None => Ok(()),
        Some(name) if is_plain(&name) => {
            Err(format!("the URL's parameter '{name}' is not known{}", did_you_mean(&name, KNOWN)))
        }
        Some(_) => Err("the URL has a parameter that is not known".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2secret";

    #[test]
    fn a_password_is_noticed_however_it_is_written() {
        for url in [
            "postgres://ann:hunter2secret@db/name",
            "postgres://db/name?password=hunter2secret",
            "postgres://db/name?sslmode=require&passwor%64=hunter2secret",
            "postgres://db/name?PASSWORD=hunter2secret",
            "postgres://ann:hunter2secret@db:no-port/name",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in ["postgres://ann@db:5432/name", "postgres:///name?host=/run/postgresql"] {
            assert!(!has_password(url), "{url}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_is_named_without_its_value() {
        let good = "postgres://ann@db/name?sslmode=verify-full&sslrootcert=/ca.pem&host=a\
            &options[search_path]=b&application%5Fname=c&user=d&dbname=e";
        assert_eq!(check_parameters(good), Ok(()));
        for (query, says) in [
            ("pass", "the URL's parameter 'pass' is not known: did you mean 'password'?"),
            ("sslmode=require&PASSWORD", "the URL's parameter 'PASSWORD' is not known"),
            ("colour", "the URL's parameter 'colour' is not known"),
            ("options[a", "the URL has a parameter that is not known"),
            ("hunter2secret%40db%2Fname", "the URL has a parameter that is not known"),
        ] {
            let url = format!("postgres://db/name?{query}={SECRET}");
            let said = check_parameters(&url).unwrap_err();
            assert_eq!(said, says);
            assert!(!said.contains(SECRET), "{said}");
        }
    }

    /// What connects would log what it does not know; so it must know all that is let through.
    #[test]
    fn whatever_is_known_here_is_known_where_it_counts() {
        use sqlx::postgres::PgConnectOptions;
        for name in KNOWN {
            let value = match name {
                "hostaddr" => "127.0.0.1",
                "port" | "statement-cache-capacity" => "7",
                "sslmode" | "ssl-mode" => "require",
                _ => "value",
            };
            let with = |name: &str| {
                let url = format!("postgres://db/database?{name}={value}");
                format!("{:?}", url.parse::<PgConnectOptions>().unwrap())
            };
            assert_ne!(with(name), with("unknown"), "{name}");
        }
    }
}
