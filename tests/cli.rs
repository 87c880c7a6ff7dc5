//! The command line for technicians and safeguarding leads: check, explain, classify, digests, limits.

use serde_json::Value;

use crate::harness::{ALLOWED, BLOCKED, GAMBLING_WORDS, SELF_HARM_WORDS, World};

#[tokio::test]
async fn check_says_whether_a_policy_can_be_used() {
    let world = World::new().await;
    world.site.run(&["check"], "").await.succeeded();
    let dir = world.site.path("policies");
    world.site.run(&["check", dir.to_str().unwrap()], "").await.succeeded();

    world.site.amend("rules.toml", "\"gambling\"", "\"gamblign\"");
    let ran = world.site.run(&["check"], "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in ["rules.toml:", "gamblign", "did you mean `gambling`?"] {
        assert!(ran.stderr.contains(part), "{part:?} is missing from {}", ran.stderr);
    }
}

#[tokio::test]
async fn check_runs_the_expectations() {
    let world = World::new().await;
    world.site.amend("lists/gambling.txt", BLOCKED, "other.example.test");
    let ran = world.site.run(&["check"], "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("expectations.toml:") && ran.stderr.contains(BLOCKED), "{}", ran.stderr);
}

#[tokio::test]
async fn explain_says_what_would_happen_and_why() {
    let world = World::new().await;
    let text = world.site.path("page.txt");
    std::fs::write(&text, format!("Some say {GAMBLING_WORDS} are harmless.")).unwrap();
    let with_text = text.to_str().unwrap();
    let blocked = format!("https://{BLOCKED}/");
    let allowed = format!("https://{ALLOWED}/");
    for (case, arguments, verdict, rule) in [
        ("a listed host", vec!["explain", &blocked, "--group", "learners"], "block", "no-gambling"),
        ("an ordinary host", vec!["explain", &allowed, "--group", "staff"], "allow", "<default>"),
        (
            "words of a page",
            vec!["explain", &allowed, "--group", "learners", "--text", with_text],
            "block",
            "no-gambling",
        ),
        ("a bare host", vec!["explain", BLOCKED, "--group", "learners"], "block", "no-gambling"),
    ] {
        let ran = world.site.run(&arguments, "").await.succeeded();
        for part in [verdict, rule] {
            assert!(ran.stdout.contains(part), "{case}: {part:?} is missing from {}", ran.stdout);
        }
        let ran = world.site.run(&[&arguments[..], &["--json"]].concat(), "").await.succeeded();
        let explained: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(explained.is_object(), "{case}: {explained}");
        assert!(ran.stdout.contains(&format!("\"{verdict}\"")), "{case}: {}", ran.stdout);
    }
    let ran = world.site.run(&["explain", &blocked, "--group", "learnres"], "").await;
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("learnres") && ran.stderr.contains("learners"), "{}", ran.stderr);
    let ran = world.site.run(&["explain", "ftp://example.test/", "--group", "learners"], "").await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn classify_answers_line_by_line() {
    let world = World::new().await;
    let input = format!(
        "{{\"id\":\"1\",\"text\":\"{SELF_HARM_WORDS}\"}}\n{{\"id\":\"2\",\"text\":\"the weather in York\",\"kind\":\"search\"}}\n"
    );
    let ran = world.site.run(&["classify", "--json"], &input).await.succeeded();
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    assert_eq!((&lines[0]["id"], &lines[0]["flag"]), (&"1".into(), &true.into()), "{}", ran.stdout);
    assert_eq!(lines[0]["findings"][0]["category"], "self-harm");
    assert!(lines[0]["findings"][0]["phrases"].is_array());
    assert_eq!((&lines[1]["id"], &lines[1]["flag"]), (&"2".into(), &false.into()));
    let ran = world.site.run(&["classify", "--json"], "no JSON\n").await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn the_digest_can_be_had_on_demand() {
    let world = World::new().await;
    world.site.append("identity.toml", "[[address]]\naddress = \"127.0.0.1\"\nuser = \"person-1\"");
    let wardgate = world.site.start().await;
    let form = format!("comment={}", SELF_HARM_WORDS.replace(' ', "+"));
    let url = world.http(ALLOWED, "/echo?digest");
    let reply = wardgate.client().post(&url, "application/x-www-form-urlencoded", form).await;
    assert_eq!(reply.status, 403);
    wardgate.line_about("?digest").await;
    let mut digest = String::new();
    for _ in 0..100 {
        digest = world.site.run(&["report", "digest"], "").await.succeeded().stdout;
        if digest.contains("person-1") && digest.to_lowercase().contains("self-harm") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the alert never comes into the digest: {digest}");
}

#[tokio::test]
async fn wrong_usage_is_code_two() {
    let world = World::new().await;
    for arguments in [&["nonsense"][..], &["explain"], &["serve", "--port", "1"], &["users", "add"]] {
        let ran = world.site.run(arguments, "").await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("--help"), "{arguments:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn accounts_are_managed_by_name() {
    let world = World::new().await;
    world.site.add_user("anna", "learners", "correct horse").await;
    let ran = world.site.run(&["users", "list"], "").await.succeeded();
    assert!(ran.stdout.contains("anna") && ran.stdout.contains("learners"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("argon2") && !ran.stdout.contains("correct horse"));
    let ran = world
        .site
        .run(&["users", "add", "anna", "--groups", "staff", "--password-stdin"], "other word\n")
        .await;
    assert_eq!(ran.code, Some(1), "a second account of the same name: {ran:?}");
    let ran = world.site.run(&["users", "add", "ben", "--groups", "staff", "--password-stdin"], "\n").await;
    assert_ne!(ran.code, Some(0), "an empty password: {ran:?}");
}
