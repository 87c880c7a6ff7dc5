//! A warning is a page with "continue"; going on is remembered for a while, for this person and site, and recorded.

use crate::harness::client::{Client, Reply};
use crate::harness::origin::PAGE;
use crate::harness::{World, request};

const GAMES: &str = "games.example.test";

/// The form of a warn page: where the browser would send it, and what.
fn form_of(page: &str) -> (String, String) {
    let form = page.split("<form").nth(1).unwrap_or_else(|| panic!("no form in {page}"));
    let form = form.split("</form>").next().unwrap();
    let attribute = |tag: &str, name: &str| -> Option<String> {
        let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
        Some(value.replace("&#x2f;", "/").replace("&#x27;", "'").replace("&amp;", "&"))
    };
    assert_eq!(attribute(form, "method").as_deref(), Some("post"), "{form}");
    let fields: Vec<String> = form
        .split("<input")
        .skip(1)
        .filter_map(|input| {
            Some(format!("{}={}", attribute(input, "name")?, escape(&attribute(input, "value")?)))
        })
        .collect();
    (attribute(form, "action").unwrap(), fields.join("&"))
}

/// Presses "continue".
async fn press(client: &Client, (action, fields): &(String, String)) -> Reply {
    client.post(action, "application/x-www-form-urlencoded", fields.clone()).await
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[tokio::test]
async fn continue_lets_the_person_pass_and_is_recorded() {
    let world = World::new().await;
    world.site.add_user("anna", "learners", "correct horse").await;
    world.site.add_user("ben", "learners", "correct horse").await;
    world.site.add_user("tess", "staff", "correct horse").await;
    let wardgate = world.site.start().await;
    for (way, url) in
        [("plain", world.http(GAMES, "/page-1")), ("intercepted", world.https(GAMES, "/page-2"))]
    {
        let (user, other) = if way == "plain" { ("anna", "ben") } else { ("ben", "tess") };
        let client = wardgate.client().user(user, "correct horse");
        let path = &url[url.rfind('/').unwrap()..];

        let warning = client.get(&url).await;
        let page = warning.text();
        assert!(page.contains("Games") && page.contains("Example College"), "{way}: {page}");
        assert!(world.origin.seen(path).is_empty(), "{way}: passed before anybody chose to");
        let line = wardgate.line_about(path).await;
        assert_eq!(line["wardgate.decision"], "warn", "{way}");
        assert_eq!(line["rule.name"], "games-after-a-warning", "{way}");

        let form = form_of(&page);
        assert!(form.0.ends_with("://wardgate.internal/continue"), "{way}: {}", form.0);
        let answer = press(&client, &form).await;
        assert_eq!(answer.status, 303, "{way}: {}", answer.text());
        assert_eq!(answer.header("location"), Some(url.as_str()), "{way}");

        assert_eq!(client.get(&url).await.status, 200, "{way}");
        let line = wardgate.lines_about(path, 2).await.pop().unwrap();
        assert_eq!(line["wardgate.continued"], true, "{way}: {line:#}");
        assert_eq!(line["user.name"], user, "{way}");

        // Somebody else's choice is somebody else's.
        let stranger = wardgate.client().user(other, "correct horse");
        assert_ne!(stranger.get(&url).await.text(), PAGE, "{way}");
    }
}

#[tokio::test]
async fn a_forged_continue_is_refused() {
    let (world, wardgate) = World::running().await;
    let url = world.http(GAMES, "/forged");
    let (action, fields) = form_of(&wardgate.client().get(&url).await.text());
    let tampered = fields.replacen("token=e", "token=f", 1);
    assert_ne!(tampered, fields);
    for (case, fields) in [
        ("nothing", String::new()),
        ("a tampered token", tampered),
        ("a token cut short", fields[..fields.len() - 3].to_owned()),
        ("a token that is none", "token=a.b".to_owned()),
    ] {
        let reply = press(&wardgate.client(), &(action.clone(), fields)).await;
        assert!(reply.status.is_client_error(), "{case}: {}", reply.status);
    }
    // A good token in the wrong hands.
    let stranger = wardgate.client().at("127.0.0.2".parse().unwrap());
    let reply = press(&stranger, &(action, fields)).await;
    assert!(reply.status.is_client_error(), "{}", reply.status);
    assert_ne!(stranger.get(&url).await.text(), PAGE);
    let reply = wardgate.client().send(request(hyper::Method::GET, &url, "")).await;
    assert_ne!(reply.text(), PAGE);
}
