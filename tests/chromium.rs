//! A headless Chromium that knows nothing but the PAC file and the school's certificate: what a pupil's device does.

use crate::harness::origin::{SSE_EVENTS, SSE_INTERVAL};
use crate::harness::webdriver::Browser;
use crate::harness::{ALLOWED, BLOCKED, GAMBLING_WORDS, Wardgate, World};

/// How much later than it was sent an event may arrive, in milliseconds.
const DELAY_MS: f64 = 300.0;

async fn browser(wardgate: &Wardgate) -> Browser {
    Browser::start(&wardgate.printed["pac"], wardgate.printed["ca"].as_ref()).await
}

async fn protocol(browser: &Browser) -> String {
    let script = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
    browser.run(script).await.as_str().unwrap_or_default().to_owned()
}

/// What a block page must have for everybody to read it.
async fn assert_accessible(browser: &Browser) {
    let facts = browser
        .run(
            "return {
                lang: document.documentElement.lang,
                title: document.title,
                mains: document.querySelectorAll('main').length,
                headings: [...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1])),
                viewport: !!document.querySelector('meta[name=viewport]'),
                nameless: [...document.querySelectorAll('a,button,input:not([type=hidden]),textarea,select')].filter(e =>
                    !(e.innerText || e.value || e.getAttribute('aria-label') || e.title || (e.labels && e.labels.length))).length,
                images: [...document.images].filter(i => !i.hasAttribute('alt')).length,
                outside: performance.getEntriesByType('resource').map(e => e.name),
            }",
        )
        .await;
    assert!(facts["lang"].as_str().is_some_and(|lang| lang.starts_with("en")), "{facts:#}");
    assert!(facts["title"].as_str().is_some_and(|title| !title.trim().is_empty()), "{facts:#}");
    assert_eq!(facts["mains"], 1, "{facts:#}");
    assert_eq!(facts["viewport"], true, "{facts:#}");
    assert_eq!((&facts["nameless"], &facts["images"]), (&0.into(), &0.into()), "{facts:#}");
    let headings: Vec<u64> =
        facts["headings"].as_array().unwrap().iter().map(|h| h.as_u64().unwrap()).collect();
    assert_eq!(headings.iter().filter(|level| **level == 1).count(), 1, "one main heading: {headings:?}");
    assert_eq!(headings.first(), Some(&1), "{headings:?}");
    assert!(headings.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a level is skipped: {headings:?}");
    let outside = facts["outside"].as_array().unwrap();
    assert!(outside.iter().all(|url| url.as_str().unwrap().ends_with("/favicon.ico")), "loads {outside:?}");
}

#[tokio::test]
async fn browses_through_the_pac_file() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let browser = browser(&wardgate).await;

    // Allowed, over HTTP/2.
    browser.open(&world.https(ALLOWED, "/?browser")).await;
    assert!(browser.text().await.contains("A plain page about rivers"));
    assert_eq!(protocol(&browser).await, "h2");
    assert_eq!(wardgate.line_about("/?browser").await["http.version"], "2");

    // Blocked by a list.
    browser.open(&world.https(BLOCKED, "/browser-list")).await;
    let text = browser.text().await;
    assert!(text.contains("Gambling") && text.contains("Example College"), "{text}");
    assert_accessible(&browser).await;
    let line = wardgate.line_about("/browser-list").await;
    assert!(text.contains(line["event.id"].as_str().unwrap()), "{text}");
    assert_eq!(line["wardgate.decision"], "block");

    // Blocked by words in the text of a compressed, chunked page.
    let words = GAMBLING_WORDS.replace(' ', "+");
    browser
        .open(&world.https(ALLOWED, &format!("/compressed?browser-words&padding=20000&late={words}")))
        .await;
    let text = browser.text().await;
    assert!(text.contains("Gambling") && !text.contains("meadow"), "{text}");
    assert_accessible(&browser).await;
    assert_eq!(wardgate.line_about("browser-words").await["wardgate.decision"], "block");

    // Plain HTTP.
    browser.open(&world.http(ALLOWED, "/?browser-plain")).await;
    assert!(browser.text().await.contains("A plain page about rivers"));
    browser.open(&world.http(BLOCKED, "/browser-plain-list")).await;
    assert!(browser.text().await.contains("Gambling"));

    // An origin that does not verify: our page says so, and nothing of the origin is shown.
    browser.open(&world.https("expired.example.test", "/browser-expired")).await;
    let text = browser.text().await;
    assert!(text.to_lowercase().contains("expired") && !text.contains("rivers"), "{text}");
    assert_accessible(&browser).await;

    // Every line of it all is complete.
    let lines = wardgate.lines();
    lines.iter().for_each(crate::harness::wardgate::assert_complete);
    browser.quit().await;
}

#[tokio::test]
async fn echoes_over_websockets() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let browser = browser(&wardgate).await;
    for (page, socket) in [
        (world.https(ALLOWED, "/"), format!("wss://{ALLOWED}:{}/ws?secure", world.origin.https.port())),
        (world.http(ALLOWED, "/"), format!("ws://{ALLOWED}:{}/ws?plain", world.origin.http.port())),
    ] {
        browser.open(&page).await;
        let said = browser
            .run_until_done(&format!(
                "const socket = new WebSocket('{socket}');
                 socket.onopen = () => socket.send('an echo, please');
                 socket.onmessage = (message) => {{ done(message.data); socket.close(); }};
                 socket.onerror = () => done('an error');"
            ))
            .await;
        assert_eq!(said, "an echo, please", "{socket}");
    }
    browser.quit().await;
}

#[tokio::test]
async fn gets_server_sent_events_as_they_are_sent() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let browser = browser(&wardgate).await;
    for base in [world.https(ALLOWED, ""), world.http(ALLOWED, "")] {
        browser.open(&format!("{base}/")).await;
        let times = browser
            .run_until_done(&format!(
                "const source = new EventSource('/sse?say=nothing');
                 const times = [];
                 source.onmessage = () => {{
                     times.push(performance.now());
                     if (times.length == {SSE_EVENTS}) {{ source.close(); done(times); }}
                 }};"
            ))
            .await;
        let times: Vec<f64> = times.as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
        for (number, time) in times.iter().enumerate() {
            let due = times[0] + number as f64 * SSE_INTERVAL.as_secs_f64() * 1000.0;
            assert!(
                time - due < DELAY_MS,
                "event {number} came {} ms after it was sent: {times:?}",
                time - due
            );
        }
    }
    browser.quit().await;
}

#[tokio::test]
async fn continues_past_a_warning() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let browser = browser(&wardgate).await;
    for url in [world.https("games.example.test", "/?tls"), world.http("games.example.test", "/?plain")] {
        browser.open(&url).await;
        if url.starts_with("https") {
            assert!(browser.text().await.contains("Games"));
            assert_accessible(&browser).await;
            browser.run("document.querySelector('form button, form input[type=submit]').click()").await;
            for _ in 0..200 {
                if browser.text().await.contains("rivers") {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        assert!(browser.text().await.contains("rivers"), "{url}: {}", browser.text().await);
    }
    browser.quit().await;
}
