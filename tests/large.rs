//! A gigabyte passes in either direction, and the program's memory does not grow by more than 64 MiB.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Method;
use hyper::body::Frame;

use crate::harness::{ALLOWED, Client, Wardgate, World, request};

const GIBIBYTE: u64 = 1 << 30;
const GROWTH: u64 = 64 << 20;
const PIECE: usize = 64 * 1024;

/// Watches the memory of the program while something happens, and returns by how much it grew at most.
async fn growth_during<T>(wardgate: &Wardgate, what: impl Future<Output = T>) -> (u64, T) {
    let before = wardgate.memory();
    let (peak, over) = (AtomicU64::new(before), AtomicBool::new(false));
    let watch = async {
        while !over.load(Ordering::SeqCst) {
            peak.fetch_max(wardgate.memory(), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let happen = async {
        let result = what.await;
        over.store(true, Ordering::SeqCst);
        result
    };
    let ((), result) = tokio::join!(watch, happen);
    (peak.into_inner() - before, result)
}

async fn download(client: &Client, url: &str) -> u64 {
    let mut body = client.open(request(Method::GET, url, "")).await.unwrap().into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, |data| data.len() as u64);
    }
    bytes
}

async fn upload(client: &Client, url: &str) -> String {
    let piece = Bytes::from(vec![b'u'; PIECE]);
    let pieces = stream::unfold(GIBIBYTE / PIECE as u64, move |left| {
        let piece = piece.clone();
        async move { (left > 0).then(|| (Ok(Frame::data(piece)), left - 1)) }
    });
    let mut asked = request(Method::POST, url, "");
    asked.headers_mut().insert("content-type", "application/octet-stream".parse().unwrap());
    asked.headers_mut().insert("content-length", GIBIBYTE.into());
    *asked.body_mut() = StreamBody::new(pieces).boxed();
    client.send(asked).await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_passes_in_bounded_memory() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let client = wardgate.client();
    // What every first request brings into memory (certificates, code, buffers) is not growth.
    assert_eq!(client.get(&world.https(ALLOWED, "/download?bytes=10000000")).await.body.len(), 10_000_000);
    for (way, client, base) in world.ways(&wardgate) {
        let url = format!("{base}/download?mark={way}&bytes={GIBIBYTE}");
        let (growth, bytes) = growth_during(&wardgate, download(&client, &url)).await;
        assert_eq!(bytes, GIBIBYTE, "{way}, down");
        assert!(growth <= GROWTH, "{way}, down: memory grew by {} MiB", growth >> 20);

        let (growth, said) =
            growth_during(&wardgate, upload(&client, &format!("{base}/upload?mark={way}"))).await;
        assert_eq!(said, GIBIBYTE.to_string(), "{way}, up");
        assert!(growth <= GROWTH, "{way}, up: memory grew by {} MiB", growth >> 20);

        let line = wardgate.line_about(&format!("/download?mark={way}&")).await;
        assert_eq!(line["http.response.body.bytes"], GIBIBYTE, "{way}");
        let line = wardgate.line_about(&format!("/upload?mark={way}")).await;
        assert_eq!(line["http.request.body.bytes"], GIBIBYTE, "{way}");
    }
}

/// A client that does not read holds up the origin, not the proxy's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_cost_little_memory() {
    const CLIENTS: u64 = 8;
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    for (way, client, base) in world.ways(&wardgate) {
        assert_eq!(client.get(&format!("{base}/download?bytes=1000000")).await.body.len(), 1_000_000);
        let hang = async {
            let mut waiting = Vec::new();
            for number in 0..CLIENTS {
                let url = format!("{base}/download?{way}-{number}&bytes={GIBIBYTE}");
                waiting.push(client.open(request(Method::GET, &url, "")).await.unwrap());
            }
            // Long enough for some gigabytes, if somebody took them in.
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        let (growth, ()) = growth_during(&wardgate, hang).await;
        assert!(growth <= GROWTH, "{way}: memory grew by {} MiB for {CLIENTS} clients", growth >> 20);
    }
}

/// A page that never ends is scanned to its end, and nothing of it is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_page_is_scanned_in_bounded_memory() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let client = wardgate.client();
    assert!(client.get(&world.https(ALLOWED, "/compressed?padding=1000000")).await.complete);
    let url = world.https(ALLOWED, "/compressed?padding=30000000");
    let (growth, reply) = growth_during(&wardgate, client.get(&url)).await;
    assert!(reply.complete);
    assert!(growth <= GROWTH, "memory grew by {} MiB", growth >> 20);
}
