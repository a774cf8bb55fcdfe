//! Looking names up, so that a name server which is silent holds up nobody but those who want to
//! know the name.
//!
//! The system's resolver blocks a thread, for half a minute if need be, and goes on when whoever
//! asked has given up. So all who want to know a name share one look-up of it: visitors of a
//! service whose name cannot be found cost one thread, as many as they may be.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::spawn_blocking;

/// So many names are looked up at a time: half of the threads that tokio has for what blocks. The
/// others read files.
const MOST_LOOKUPS: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(MOST_LOOKUPS);

/// The names that are being looked up.
static UNDER_WAY: Mutex<BTreeMap<String, Answer>> = Mutex::new(BTreeMap::new());

/// What has been found, once it has.
type Answer = watch::Receiver<Option<Found>>;

/// The addresses of a name, for as many as have asked.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The addresses of `host`, in the order in which to try them. Callers set a deadline.
///
/// # Cancel safety
///
/// Cancel safe. The look-up goes on, and whoever asks again meanwhile has its answer.
///
/// # Errors
///
/// Whatever the system says.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found = shared(host, |host| Ok((host, 0).to_socket_addrs()?.collect())).await?;
    found.iter_mut().for_each(|addr| addr.set_port(port));
    Ok(found)
}

/// The same with a resolver of the caller's, which may block.
async fn shared(
    host: &str,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let under_way = UNDER_WAY.lock().get(host).cloned();
    let mut answer = match under_way {
        Some(answer) => answer,
        None => {
            let place = PLACES.acquire().await.map_err(io::Error::other)?;
            join_or_begin(host, place, resolve)
        }
    };
    let found = match answer.wait_for(Option::is_some).await {
        Ok(found) => found.clone(),
        Err(_) => None,
    };
    found.unwrap_or_else(|| Err(Arc::new(io::Error::other("the look-up was broken off")))).map_err(
        |err| match err.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(err.kind(), err),
        },
    )
}

/// Joins the look-up of `host` that is under way, or begins one that has `place`.
fn join_or_begin(
    host: &str,
    place: SemaphorePermit<'static>,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Answer {
    let mut under_way = UNDER_WAY.lock();
    // Somebody else may have begun while this one waited for its place.
    if let Some(answer) = under_way.get(host) {
        return answer.clone();
    }
    let (sender, answer) = watch::channel(None);
    under_way.insert(host.to_owned(), answer.clone());
    let lookup = Lookup { host: host.to_owned(), _place: place };
    // Its end is in the answer; nobody can break it off.
    drop(spawn_blocking(move || {
        let found = resolve(&lookup.host).map_err(Arc::new);
        // Over before it is known: whoever asks then has a new one.
        drop(lookup);
        sender.send_replace(Some(found));
    }));
    answer
}

/// A look-up that is under way until this is dropped.
struct Lookup {
    host: String,
    _place: SemaphorePermit<'static>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        UNDER_WAY.lock().remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::future::{join, join_all};
    use tokio::time::timeout;

    use super::*;

    fn addr(n: u8) -> SocketAddr {
        ([10, 0, 0, n], 0).into()
    }

    #[tokio::test]
    async fn all_who_want_to_know_a_name_share_one_look_up_and_others_do_not_wait_for_it() {
        let (answer, silent) = mpsc::channel();
        let answered = shared("silent.example", move |_| Ok(silent.recv().unwrap()));
        let gave_up = timeout(Duration::from_millis(1), answered).await;
        assert!(gave_up.is_err());

        let never = |_: &str| -> io::Result<_> { panic!("it is being looked up") };
        let many = join_all((0..1000).map(|_| shared("silent.example", never)));
        let others = async {
            let found = shared("other.example", |_| Ok(vec![addr(2)])).await;
            assert_eq!(found.unwrap(), [addr(2)]);
            answer.send(vec![addr(1)]).unwrap();
        };
        let (found, ()) = join(many, others).await;
        assert!(found.into_iter().all(|found| found.unwrap() == [addr(1)]));

        let found = shared("silent.example", |_| Ok(vec![addr(3)])).await;
        assert_eq!(found.unwrap(), [addr(3)], "asked anew");
    }

    #[tokio::test]
    async fn what_is_not_found_is_an_error_for_all_who_asked_and_may_be_asked_again() {
        let broken = |_: &str| -> io::Result<_> { panic!("on purpose") };
        assert!(shared("broken.example", broken).await.is_err());
        let missing = |_: &str| Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
        let (one, two) =
            join(shared("broken.example", missing), shared("broken.example", missing)).await;
        for err in [one.unwrap_err(), two.unwrap_err()] {
            assert_eq!(err.kind(), io::ErrorKind::NotFound);
            assert_eq!(err.to_string(), "no such name");
        }
        let out_of_files = |_: &str| Err(io::Error::from_raw_os_error(24));
        let err = shared("broken.example", out_of_files).await.unwrap_err();
        assert!(super::super::is_out_of_files(&err));
    }
}
