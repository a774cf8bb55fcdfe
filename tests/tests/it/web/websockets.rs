//! WebSockets as real programs speak them.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use futures::{StreamExt, stream};
use hyper::Response;
use tests::http::Line;
use tests::sockets::{self, Socket};
use tests::web::whole;
use tests::{Tasks, within_time};

use super::{APP, app, world_of};

/// So many at a time.
const SOCKETS: usize = 1000;

/// So many others, who ask one after the other.
const VISITORS: usize = 20;

/// So many times each.
const REQUESTS: usize = 5;

#[tokio::test]
async fn a_thousand_websockets_send_back_what_they_get_while_others_are_served() {
    let service = sockets::beside(async |_| Response::new(whole("ok"))).await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let opening = stream::iter(0..SOCKETS).map(|_| Socket::open(http, APP)).buffer_unordered(50);
    let opened: Vec<Socket> = opening.collect().await;
    world.shows("all of them", |metrics| metrics.requests("app") == SOCKETS as f64).await;

    // They go on until the others have had their answers.
    let over = AtomicBool::new(false);
    let mut visitors = Tasks::new();
    for _ in 0..VISITORS {
        visitors.spawn(async move {
            let mut line = Line::connect(http).await;
            for _ in 0..REQUESTS {
                assert_eq!(line.ask(APP, "/").await.text(), "ok");
            }
        });
    }
    let asking = async {
        visitors.join().await;
        over.store(true, Ordering::Relaxed);
    };
    let echoing = opened.into_iter().enumerate().map(async |(number, mut socket)| {
        for round in 0.. {
            socket.expect_echo(&format!("{number} {round}")).await;
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        socket
    });
    let both = async { tokio::join!(join_all(echoing), asking).0 };
    let echoed = within_time(tests::wait::PATIENCE * 3, "all echoes and answers", both).await;

    for socket in echoed {
        socket.close().await;
    }
    world.shows("none of them", |metrics| metrics.requests("app") == 0.0).await;
    client.finish().await;
    world.stop().await;
}
