//! Real clients inside an intercepted connection: each one in its own words, in every feature that it has. The table
//! below is the one in `README.md`; each row of it is a test, and each cell of a row is something that the client (a
//! script of `tests/clients`) says it did, and where possible something that the origin saw.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::wardgate::assert_complete;
use crate::harness::webdriver::Browser;
use crate::harness::{ALLOWED, BLOCKED, Wardgate, World, files, tools};

/// What a client may be able to do, in the order of the table.
const FEATURES: [&str; 9] = [
    "large files",
    "redirects",
    "cookies",
    "caching",
    "compression",
    "ranges",
    "WebSocket",
    "events",
    "refusals",
];

/// A cell for what a client does not have.
const NONE: &str = "n/a";

/// A row of the table.
struct Client {
    name: &'static str,
    /// What it speaks inside the tunnel.
    protocol: &'static str,
    way: Way,
    cells: [&'static str; FEATURES.len()],
}

/// How a client is made to do what it can.
enum Way {
    /// A program runs a script of `tests/clients`, with these arguments behind it.
    Script(&'static str, &'static [&'static str]),
    /// The page of an allowed host runs `browser.js`.
    Chromium,
    Firefox,
}

/// Makes a row of the table and a test of each line, so that there is no row without its test.
macro_rules! clients {
    ($($test:ident: $name:literal, $protocol:literal, $way:expr, [$($cell:expr),*];)*) => {
        const CLIENTS: &[Client] =
            &[$(Client { name: $name, protocol: $protocol, way: $way, cells: [$($cell),*] }),*];
        $(
            #[tokio::test]
            async fn $test() {
                let row = CLIENTS.iter().find(|row| (row.name, row.protocol) == ($name, $protocol));
                passes(row.expect("a row for each test")).await;
            }
        )*
    };
}

clients! {
    chromium: "Chromium", "HTTP/2", Way::Chromium, ["✓", "✓", "✓", "✓", "gzip, br, zstd", "✓", "✓", "✓", "✓"];
    firefox: "Firefox", "HTTP/2", Way::Firefox, ["✓", "✓", "✓", "✓", "gzip, br, zstd", "✓", "✓", "✓", "✓"];
    curl_http1: "curl", "HTTP/1.1", Way::Script("bash", &["curl.sh", "--http1.1"]),
        ["✓", "✓", "✓", "✓", "gzip, br, zstd", "✓", NONE, "✓", "✓"];
    curl_http2: "curl", "HTTP/2", Way::Script("bash", &["curl.sh", "--http2"]),
        ["✓", "✓", "✓", "✓", "gzip, br, zstd", "✓", NONE, "✓", "✓"];
    wget: "wget", "HTTP/1.1", Way::Script("bash", &["wget.sh"]),
        ["✓", "✓", "✓", "✓", "gzip", "✓", NONE, "✓", "✓"];
    requests: "Python requests", "HTTP/1.1", Way::Script("/usr/bin/python3", &["libraries.py", "requests"]),
        ["✓", "✓", "✓", "✓", "gzip, deflate", "✓", NONE, "✓", "✓"];
    httpx_http1: "Python httpx", "HTTP/1.1", Way::Script("/usr/bin/python3", &["libraries.py", "httpx"]),
        ["✓", "✓", "✓", "✓", "gzip, deflate", "✓", NONE, "✓", "✓"];
    httpx_http2: "Python httpx", "HTTP/2", Way::Script("/usr/bin/python3", &["libraries.py", "httpx2"]),
        ["✓", "✓", "✓", "✓", "gzip, deflate", "✓", NONE, "✓", "✓"];
    websockets: "Python websockets", "HTTP/1.1", Way::Script("/usr/bin/python3", &["libraries.py", "websockets"]),
        [NONE, NONE, NONE, NONE, NONE, NONE, "✓", NONE, "✓"];
    node: "Node's fetch", "HTTP/1.1", Way::Script("node", &["fetch.mjs"]),
        ["✓", "✓", "✓", "✓", "gzip, deflate, br", "✓", NONE, "✓", "✓"];
    java_http1: "Java's HttpClient", "HTTP/1.1", Way::Script("java", &["Client.java", "HTTP_1_1"]),
        ["✓", "✓", "✓", "✓", "gzip", "✓", "✓", "✓", "✓"];
    java_http2: "Java's HttpClient", "HTTP/2", Way::Script("java", &["Client.java", "HTTP_2"]),
        ["✓", "✓", "✓", "✓", "gzip", "✓", "✓", "✓", "✓"];
    git: "git", "HTTP/2", Way::Script("bash", &["git.sh"]),
        ["✓", "✓", "✓", NONE, "gzip", NONE, NONE, NONE, "✓"];
    apt: "apt", "HTTP/1.1", Way::Script("bash", &["apt.sh"]),
        ["✓", "✓", NONE, "✓", NONE, "✓", NONE, NONE, "✓"];
}

/// Everything that a client may need to know, as a script finds it in its environment.
fn environment(world: &World, wardgate: &Wardgate) -> [(&'static str, String); 10] {
    let another = "another.example.test";
    [
        ("PROXY", wardgate.own_url("").trim_end_matches('/').to_owned()),
        ("CA", wardgate.printed["ca"].clone()),
        ("PLAIN", world.http(ALLOWED, "")),
        ("SECURE", world.https(ALLOWED, "")),
        ("OTHER", world.https(another, "")),
        ("BLOCKED", world.https(BLOCKED, "")),
        ("FILE_BYTES", files::SAMPLE_BYTES.to_string()),
        ("FILE_SHA256", files::sha256(&files::sample(files::SAMPLE_BYTES))),
        ("ROOT", world.site.path("root").display().to_string()),
        ("HOME", world.site.path("home").display().to_string()),
    ]
}

async fn passes(client: &Client) {
    let (world, wardgate) = World::running().await;
    for folder in ["root", "home"] {
        std::fs::create_dir(world.site.path(folder)).unwrap();
    }
    world.origin.serve_files(&world.site.path("root"));
    let environment = environment(&world, &wardgate);
    let (pac, ca) = (&wardgate.printed["pac"], wardgate.printed["ca"].as_ref());
    let did = match client.way {
        Way::Script(program, arguments) => script(program, arguments, &environment).await,
        Way::Chromium => page(Browser::start(pac, ca).await, &world, &wardgate, &environment).await,
        Way::Firefox => page(Browser::firefox(pac, ca).await, &world, &wardgate, &environment).await,
    };
    let expected = FEATURES.iter().zip(client.cells).filter(|(_, cell)| *cell != NONE);
    let expected: BTreeMap<String, String> =
        expected.map(|(feature, cell)| ((*feature).to_owned(), cell.to_owned())).collect();
    assert_eq!(did, expected, "what {} did, and what the table says", client.name);
    for (feature, cell) in &did {
        assert!(saw(&world, feature, cell), "{}: the origin saw nothing of its {feature}", client.name);
    }
    for line in wardgate.lines() {
        assert_complete(&line);
        let url = line["url.full"].as_str().unwrap_or_default();
        // A WebSocket has a connection of its own, and what began in the clear may go on as it began.
        let apart = url.ends_with("/ws") || url.ends_with("/?https");
        if url.starts_with("https:") && line["http.request.method"] != "CONNECT" && !apart {
            let version = line["http.version"].as_str().unwrap();
            assert_eq!(format!("HTTP/{version}"), client.protocol, "{line:#}");
        }
    }
}

/// What a script printed: a line for each feature, once it held.
async fn script(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
) -> BTreeMap<String, String> {
    let mut command = Command::new(tools::find(program));
    command
        .arg(tools::script(arguments[0]))
        .args(&arguments[1..])
        // What the machine has configured for its own sake is not part of the test.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let ran = tools::run(&mut command, "").await.succeeded();
    let lines = ran.stdout.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(feature, cell)| (feature.to_owned(), cell.to_owned())).collect()
}

/// What `browser.js` says in a page of the allowed host, beside what only the browser's surroundings show.
async fn page(
    browser: Browser,
    world: &World,
    wardgate: &Wardgate,
    environment: &[(&str, String)],
) -> BTreeMap<String, String> {
    let onward = format!("/moved/301/{}", world.https(ALLOWED, "/?https").replacen("://", "/", 1));
    browser.open(&world.http(ALLOWED, &onward)).await;
    let address = browser.run("return location.href").await;
    assert_eq!(address, world.https(ALLOWED, "/?https").as_str(), "from http to https");
    let script = std::fs::read_to_string(tools::script("browser.js")).unwrap();
    let environment: BTreeMap<_, _> = environment.iter().map(|(name, value)| (name, value)).collect();
    let environment = serde_json::to_string(&environment).unwrap();
    let did = browser.run_until_done(&format!("const env = {environment};\n{script}")).await;
    browser.quit().await;
    let Value::Object(did) = did else { panic!("the page says {did}") };
    let asked = |path: &str| world.origin.seen(path).len();
    assert_eq!(
        (asked("/cached?age=600"), asked("/cached?age=0")),
        (1, 2),
        "what is fresh is not asked for again; the page says {did:?}"
    );
    let framed = wardgate.line_about("/in-a-frame").await;
    let page = (&framed["http.response.status_code"], &framed["http.response.mime_type"]);
    assert_eq!(page, (&403.into(), &"text/html".into()), "the block page in a frame: {framed:#}");
    did.into_iter().map(|(feature, cell)| (feature, cell.as_str().unwrap().to_owned())).collect()
}

/// Whether the origin saw what a client says that it did, where it can.
fn saw(world: &World, feature: &str, cell: &str) -> bool {
    let seen = world.origin.seen("/");
    let any = |field: &str, part: &str| {
        seen.iter()
            .any(|seen| seen.headers.get(field).is_some_and(|value| value.to_str().unwrap().contains(part)))
    };
    match feature {
        "cookies" => any("cookie", "="),
        "caching" => any("if-none-match", "\"") || any("if-modified-since", "GMT"),
        "compression" => cell.split(", ").all(|coding| any("accept-encoding", coding)),
        "ranges" => any("range", "bytes="),
        "WebSocket" => !world.origin.seen("/ws").is_empty(),
        "events" => !world.origin.seen("/acknowledge?").is_empty(),
        "refusals" => !seen.iter().any(|seen| seen.headers.get("host").is_some_and(|host| host == BLOCKED)),
        _ => true,
    }
}

#[test]
fn the_table_in_the_readme_is_this_one() {
    let mut table = format!(
        "| client | protocol | {} |\n|---|---|{}\n",
        FEATURES.join(" | "),
        "---|".repeat(FEATURES.len())
    );
    for client in CLIENTS {
        table.push_str(&format!(
            "| {} | {} | {} |\n",
            client.name,
            client.protocol,
            client.cells.join(" | ")
        ));
    }
    let readme = std::fs::read_to_string(tools::script("../README.md")).unwrap();
    assert!(readme.contains(&table), "tests/README.md must contain this table:\n\n{table}");
}
