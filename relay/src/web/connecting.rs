//! Connections that are being made, for all who wait for one of them.

use std::collections::HashMap;

use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use tokio::sync::watch;

use super::fault::Fault;

/// The tunnels to whose local services somebody connects for all who come meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Connecting(Mutex<HashMap<TunnelName, watch::Receiver<Option<Made>>>>);

/// What has come of it: a connection, or why there is none. `Err(None)`: the client has gone.
pub(crate) type Made = Result<(), Option<Fault>>;

/// Whose it is to connect.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// Whoever has asked.
    Own(Maker<'a>),
    /// Somebody else does.
    Others(Waiter),
}

/// Whoever connects. Dropping it leaves that to somebody else.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    connecting: &'a Connecting,
    tunnel: TunnelName,
    tell: watch::Sender<Option<Made>>,
}

/// Whoever waits for somebody else who connects.
#[derive(Debug)]
pub(crate) struct Waiter(watch::Receiver<Option<Made>>);

impl Connecting {
    /// Whose it is to connect to the local service of a tunnel.
    pub(crate) fn turn(&self, tunnel: &TunnelName) -> Turn<'_> {
        let mut tunnels = self.0.lock();
        if let Some(made) = tunnels.get(tunnel) {
            return Turn::Others(Waiter(made.clone()));
        }
        let (tell, made) = watch::channel(None);
        tunnels.insert(tunnel.clone(), made);
        Turn::Own(Maker { connecting: self, tunnel: tunnel.clone(), tell })
    }
}

impl Maker<'_> {
    /// Tells all who wait what has come of it.
    pub(crate) fn tell(self, made: Made) {
        self.tell.send_replace(Some(made));
    }
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        self.connecting.0.lock().remove(&self.tunnel);
    }
}

impl Waiter {
    /// Waits for what comes of it. `None`: whoever connected has left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn made(mut self) -> Option<Made> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|made| *made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_learn_the_same_and_the_next_one_tries_again() {
        let connecting = Connecting::default();
        let [app, other] = ["app", "other"].map(|name| name.parse().unwrap());
        let Turn::Own(maker) = connecting.turn(&app) else { panic!("nobody else connects") };
        assert!(matches!(connecting.turn(&other), Turn::Own(_)));
        let waiters = [(); 3].map(|()| match connecting.turn(&app) {
            Turn::Others(waiter) => waiter,
            Turn::Own(_) => panic!("somebody connects"),
        });
        maker.tell(Err(Some(Fault::LocalRefused)));
        for waiter in waiters {
            assert_eq!(waiter.made().await, Some(Err(Some(Fault::LocalRefused))));
        }
        let Turn::Own(maker) = connecting.turn(&app) else { panic!("that is over") };
        let Turn::Others(waiter) = connecting.turn(&app) else { panic!("somebody connects") };
        drop(maker);
        assert_eq!(waiter.made().await, None);
        assert!(connecting.0.lock().is_empty());
    }
}
