//! A warning is a page with "continue"; going on is remembered for a while, for this person and site, and recorded.

use crate::harness::{World, request};

const GAMES: &str = "games.example.test";

/// The hidden fields of the page's form, as the browser would send them.
fn form_of(page: &str) -> String {
    let action = "https://wardgate.internal/continue";
    assert!(page.contains(action) && page.to_lowercase().contains("method=\"post\""), "no form in {page}");
    let mut fields = Vec::new();
    for input in page.split("<input").skip(1).filter_map(|rest| rest.split('>').next()) {
        let attribute = |name: &str| -> Option<String> {
            let value = input.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
            Some(value.replace("&amp;", "&").replace("&#x2f;", "/").replace("&#x27;", "'"))
        };
        if let (Some(name), Some(value)) = (attribute("name"), attribute("value")) {
            fields.push(format!("{name}={}", escape(&value)));
        }
    }
    fields.join("&")
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
    let wardgate = world.site.start().await;
    for (way, url) in
        [("plain", world.http(GAMES, "/page-1")), ("intercepted", world.https(GAMES, "/page-2"))]
    {
        let (user, other) = if way == "plain" { ("anna", "ben") } else { ("ben", "tess") };
        if other == "tess" {
            world.site.add_user("tess", "staff", "correct horse").await;
        }
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
        let answer = client
            .post("https://wardgate.internal/continue", "application/x-www-form-urlencoded", form.clone())
            .await;
        assert_eq!(answer.status, 303, "{way}: {}", answer.text());
        assert_eq!(answer.header("location"), Some(url.as_str()), "{way}");

        assert_eq!(client.get(&url).await.status, 200, "{way}");
        let line = wardgate.lines_about(path, 2).await.pop().unwrap();
        assert_eq!(line["wardgate.continued"], true, "{way}: {line:#}");
        assert_eq!(line["user.name"], user, "{way}");

        // Somebody else's choice is somebody else's.
        let stranger = wardgate.client().user(other, "correct horse");
        assert_ne!(stranger.get(&url).await.text(), crate::harness::origin::PAGE, "{way}");
    }
}

#[tokio::test]
async fn a_forged_continue_is_refused() {
    let (world, wardgate) = World::running().await;
    let url = world.http(GAMES, "/forged");
    let form = form_of(&wardgate.client().get(&url).await.text());
    for (case, form) in [
        ("nothing", String::new()),
        ("another site", form.replace("games", "blocked")),
        ("a token cut short", form.split_at(form.len() - 3).0.to_owned()),
    ] {
        let asked = "https://wardgate.internal/continue";
        let reply = wardgate.client().post(asked, "application/x-www-form-urlencoded", form).await;
        assert!(reply.status.is_client_error(), "{case}: {}", reply.status);
    }
    let reply = wardgate.client().send(request(hyper::Method::GET, &url, "")).await;
    assert_ne!(reply.text(), crate::harness::origin::PAGE);
}
