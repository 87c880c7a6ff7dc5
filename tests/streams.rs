//! Server-sent events pass one by one while they are scanned, and a stream is cut where its words ask for it.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::Method;

use crate::harness::origin::{SSE_EVENTS, SSE_INTERVAL};
use crate::harness::{GAMBLING_WORDS, World, request};

/// How much later than it was sent an event may arrive.
const DELAY: Duration = Duration::from_millis(300);

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    for (way, client, base) in world.ways(&wardgate) {
        let asked = request(Method::GET, &format!("{base}/sse?say=nothing+special"), "");
        let mut body = client.open(asked).await.unwrap().into_body();
        let mut text = String::new();
        let mut first = None;
        for number in 0..SSE_EVENTS {
            while !text.contains(&format!("event {number} ")) {
                let frame = body.frame().await.expect("the stream goes on").unwrap();
                text.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
            }
            let began: Instant = *first.get_or_insert_with(Instant::now);
            let due = SSE_INTERVAL * u32::try_from(number).unwrap();
            let late = began.elapsed().saturating_sub(due);
            assert!(late < DELAY, "{way}: event {number} came {late:?} after it was sent");
        }
    }
}

#[tokio::test]
async fn a_stream_is_cut_where_its_words_ask_for_it() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let url = format!("{base}/sse?mark={way}&say={}", GAMBLING_WORDS.replace(' ', "+"));
        let reply = client.get(&url).await;
        let text = reply.text();
        assert!(!reply.complete, "{way}: a cut stream must not end cleanly");
        assert!(text.contains("event 0 ") && !text.contains(GAMBLING_WORDS), "{way}: {text}");
        let line = wardgate.line_about(&format!("mark={way}&")).await;
        assert_eq!(line["wardgate.outcome"], "cut", "{way}: {line:#}");
    }
}
