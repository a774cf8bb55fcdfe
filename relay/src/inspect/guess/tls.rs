//! TLS: what a client's hello says.

use rustls::server::Acceptor;

use super::Guess;

/// The first byte of a connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

pub(super) fn guess(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    let [HANDSHAKE, 3, ..] = visitor else { return None };
    let guess = Guess::of("TLS");
    let mut acceptor = Acceptor::default();
    let mut rest = visitor;
    while !rest.is_empty() {
        // What is cut, or broken, may still be TLS.
        if !matches!(acceptor.read_tls(&mut rest), Ok(read) if read > 0) {
            break;
        }
    }
    let Ok(Some(accepted)) = acceptor.accept() else {
        let answers = service.first().is_none_or(|first| [HANDSHAKE, 0x15].contains(first));
        return answers.then_some(guess);
    };
    let hello = accepted.client_hello();
    let guess = match hello.server_name() {
        Some(name) => guess.with("server_name", name),
        None => guess,
    };
    let protocols: Vec<_> =
        hello.alpn().into_iter().flatten().map(|one| String::from_utf8_lossy(one)).collect();
    Some(match protocols.is_empty() {
        true => guess,
        false => guess.with("alpn", protocols.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    #[test]
    fn a_hello_says_whom_it_is_for_and_what_is_spoken() {
        shared::carry::tls::install_provider();
        let roots = RootCertStore::empty();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = "app.example".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let details = [("server_name", "app.example"), ("alpn", "h2, http/1.1")];
        let details = details.map(|(name, text)| (name, text.to_owned()));
        let whole = guess(&hello, b"").unwrap();
        assert_eq!((whole.protocol, &*whole.details), ("TLS", &details[..]));
        let cut = guess(&hello[..100], b"").unwrap();
        assert_eq!((cut.protocol, cut.details.len()), ("TLS", 0));
    }
}
