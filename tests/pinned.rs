//! Programs that accept only certificates of their own choice are named to the technician, told from devices on which
//! the school's is not installed, and never let past unread.

use serde_json::Value;

use crate::harness::{ALLOWED, Client, Failure, Wardgate, World, request};

const OTHER: &str = "another.example.test";

/// A client at this address that trusts the origins' authority and not the school's, as a pinned program does.
fn pinned_client(world: &World, wardgate: &Wardgate, from: &str) -> Client {
    Client::new(wardgate.proxy, &world.pki.root_pem).at(from.parse().unwrap())
}

async fn refuse(client: &Client, url: &str) {
    match client.try_send(request(hyper::Method::GET, url, "")).await {
        Err(Failure::Broken(_)) => {}
        other => panic!("the certificate was accepted: {other:?}"),
    }
}

async fn report(world: &World) -> Value {
    let ran = world.site.run(&["pinned", "--json"], "").await.succeeded();
    serde_json::from_str(&ran.stdout).unwrap()
}

#[tokio::test]
async fn a_pinned_program_is_named_with_an_entry_to_consider() {
    let (world, wardgate) = World::running().await;
    let (page, app) = (world.https(ALLOWED, "/"), world.https(OTHER, "/"));
    // One device with the certificate, on which a program does not accept it; and one without.
    let browser = wardgate.client().at("127.0.0.2".parse().unwrap());
    assert_eq!(browser.get(&page).await.status, 200);
    let program = pinned_client(&world, &wardgate, "127.0.0.2");
    let stranger = pinned_client(&world, &wardgate, "127.0.0.3");
    for _ in 0..3 {
        refuse(&program, &app).await;
        refuse(&stranger, &page).await;
        refuse(&stranger, &app).await;
    }
    let lines = wardgate.lines_about(OTHER, 6).await;
    for line in &lines {
        assert_eq!(line["wardgate.tls_refused"], "unknown_ca", "{line:#}");
        assert_eq!(
            (&line["wardgate.route"], &line["wardgate.outcome"]),
            (&"intercept".into(), &"client-closed".into())
        );
    }
    wardgate.lines_about(ALLOWED, 5).await;

    let said = report(&world).await;
    assert_eq!(said["bypassed"], false);
    assert_eq!(said["pinned"].as_array().map(Vec::len), Some(1), "{said:#}");
    let pinned = &said["pinned"][0];
    assert_eq!((&pinned["host"], &pinned["alerts"]["unknown_ca"]), (&OTHER.into(), &3.into()), "{said:#}");
    assert_eq!(pinned["clients"], serde_json::json!(["127.0.0.2"]));
    assert_eq!(said["devices_without_certificate"][0]["client"], "127.0.0.3", "{said:#}");
    assert!(world.origin.seen("/").len() == 1, "what was refused reached the origin");

    let text = world.site.run(&["pinned"], "").await.succeeded().stdout;
    for part in [OTHER, "None of them is let past unread", "never-intercept.toml", "127.0.0.3"] {
        assert!(text.contains(part), "{part:?} is missing from {text}");
    }

    // The entry is one as it stands; once somebody has made it, the program works and is not named any more.
    world.site.append("never-intercept.toml", pinned["proposal"].as_str().unwrap());
    world.site.run(&["check"], "").await.succeeded();
    wardgate.signal("HUP");
    crate::harness::eventually("the policy is taken up", || wardgate.stderr().contains("was reloaded")).await;
    assert_eq!(program.get(&app).await.status, 200);
    assert_eq!(report(&world).await["pinned"], serde_json::json!([]));
}

#[tokio::test]
async fn nothing_is_said_of_clients_that_are_content() {
    let (world, wardgate) = World::running().await;
    for _ in 0..3 {
        assert_eq!(wardgate.client().get(&world.https(ALLOWED, "/")).await.status, 200);
    }
    wardgate.wait_for_lines(6).await;
    let said = report(&world).await;
    assert_eq!(
        (&said["pinned"], &said["devices_without_certificate"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
}
