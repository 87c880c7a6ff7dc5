//! SIGTERM ends gently: what is under way is finished, nothing new begins, and what will not end is ended.

use std::time::{Duration, Instant};

use hyper::Method;

use crate::harness::{ALLOWED, World, eventually, request};

#[tokio::test]
async fn exchanges_under_way_are_finished() {
    let (world, mut wardgate) = World::running().await;
    let mut waiting = Vec::new();
    for (way, client, base) in world.ways(&wardgate) {
        let url = format!("{base}/slow?ms=2000&{way}");
        waiting
            .push(tokio::spawn(async move { (way, client.try_send(request(Method::GET, &url, "")).await) }));
    }
    eventually("all are under way", || world.origin.seen("/slow").len() == 3).await;
    wardgate.signal("TERM");
    let fresh = || std::net::TcpStream::connect_timeout(&wardgate.proxy, Duration::from_millis(200)).is_err();
    eventually("new connections are refused", fresh).await;
    for task in waiting {
        let (way, reply) = task.await.unwrap();
        let reply = reply.unwrap_or_else(|failure| panic!("{way}: {failure:?}"));
        assert!(reply.status == 200 && reply.complete && reply.text() == "at last", "{way}: {reply:?}");
    }
    assert_eq!(wardgate.ended().await.code(), Some(0));
    for way in ["plain", "http1", "http2"] {
        assert_eq!(
            wardgate.line_about(&format!("ms=2000&{way}")).await["wardgate.outcome"],
            "completed",
            "{way}"
        );
    }
}

#[tokio::test]
async fn what_does_not_end_is_ended_and_recorded() {
    let mut world = World::new().await;
    world.site.set("proxy", "drain_timeout_secs", 1);
    let mut wardgate = world.site.start().await;
    let client = wardgate.client();
    let url = world.http(ALLOWED, "/slow?ms=600000");
    let waiting = tokio::spawn(async move { client.try_send(request(Method::GET, &url, "")).await });
    let tunnel =
        wardgate.client().connect(&format!("bank.example.test:{}", world.origin.https.port())).await.unwrap();
    eventually("it is under way", || !world.origin.seen("/slow").is_empty()).await;
    let began = Instant::now();
    assert_eq!(wardgate.terminate().await.code(), Some(0), "{}", wardgate.stderr());
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    let _ = waiting.await.unwrap();
    drop(tunnel);
    assert_eq!(wardgate.line_about("/slow").await["wardgate.outcome"], "shut-down");
    assert_eq!(wardgate.line_about("bank.example.test").await["wardgate.outcome"], "shut-down");
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let (world, mut wardgate) = World::running().await;
    let client = wardgate.client();
    let mut sessions = Vec::new();
    for url in [world.http(ALLOWED, "/"), world.https(ALLOWED, "/")] {
        for client in [client.clone(), client.http1()] {
            let mut session = client.session(&url.parse().unwrap()).await.unwrap();
            assert_eq!(session.send(request(Method::GET, &url, "")).await.unwrap().status, 200);
            sessions.push(session);
        }
    }
    let began = Instant::now();
    assert_eq!(wardgate.terminate().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn ctrl_c_stops_it_too() {
    let (_world, mut wardgate) = World::running().await;
    wardgate.signal("INT");
    assert_eq!(wardgate.ended().await.code(), Some(0));
}
