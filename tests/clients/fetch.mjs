// Node's own fetch. Before version 24 it knows no proxy, so that its dispatcher is given a way to connect: CONNECT,
// and TLS inside. Prints a line for each feature that held.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import tls from "node:tls";

const { PROXY, CA, PLAIN, SECURE, OTHER, BLOCKED, FILE_BYTES, FILE_SHA256 } = process.env;
const proxy = new URL(PROXY);
const ca = readFileSync(CA);

function connect({ hostname, port, protocol }, done) {
  const authority = `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
  const asked = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: authority });
  asked.on("error", done);
  asked.on("connect", (answer, socket) => {
    if (answer.statusCode !== 200) return done(new Error(`CONNECT: ${answer.statusCode}`));
    if (protocol !== "https:") return done(null, socket);
    const inside = tls.connect({ socket, ca, servername: hostname, ALPNProtocols: ["http/1.1"] });
    inside.once("error", done);
    inside.once("secureConnect", () => done(null, inside));
  });
  asked.end();
}

await fetch("data:,"); // the dispatcher is there once something was fetched
const Agent = globalThis[Symbol.for("undici.globalDispatcher.1")].constructor;
const dispatcher = new Agent({ connect });
const ask = (url, options = {}) => fetch(url, { dispatcher, ...options });

const did = (feature, cell = "✓") => console.log(`${feature}: ${cell}`);
const moved = (code, url) => `/moved/${code}/${url.replace("://", "/")}`;

async function largeFiles() {
  const digest = createHash("sha256");
  for await (const piece of (await ask(`${SECURE}/file?bytes=${FILE_BYTES}`)).body) digest.update(piece);
  assert.equal(digest.digest("hex"), FILE_SHA256);
  const piece = Buffer.alloc(65536, "u");
  async function* pieces() {
    for (let sent = 0; sent < FILE_BYTES; sent += piece.length) yield piece;
  }
  const headers = { "content-type": "application/octet-stream" };
  const answer = await ask(`${SECURE}/upload`, { method: "POST", body: pieces(), duplex: "half", headers });
  assert.equal(await answer.text(), FILE_BYTES);
  await assert.rejects(async () => (await ask(`${SECURE}/broken?length=1000`)).text(), "half is not the whole");
  did("large files");
}

async function redirects() {
  for (const [code, method] of [[301, "GET"], [302, "GET"], [303, "GET"], [307, "POST"], [308, "POST"]]) {
    const body = new URLSearchParams({ a: "1" });
    const echo = await (await ask(`${SECURE}${moved(code, OTHER)}/echo?${code}`, { method: "POST", body })).json();
    assert.deepEqual([echo.method, echo.path, echo.body], [method, `/echo?${code}`, method === "POST" ? "a=1" : ""]);
  }
  const answer = await ask(`${PLAIN}${moved(301, SECURE)}/?https`);
  assert.equal(answer.url, `${SECURE}/?https`);
  assert.ok((await answer.text()).includes("rivers"));
  did("redirects");
}

// fetch keeps no cookies in Node: its caller does.
async function cookies() {
  const login = await ask(`${SECURE}/login`);
  assert.equal(await login.text(), "welcome");
  // Debian 12's Node only has them joined; the comma in a date is followed by no name.
  const set = login.headers.getSetCookie?.() ?? login.headers.get("set-cookie").split(/, (?=\w+=)/);
  assert.equal(set.length, 2);
  const cookie = set.map((one) => one.split(";")[0]).join("; ");
  assert.equal(cookie, "session=s3cr3t; theme=dark");
  const echo = await (await ask(`${SECURE}/echo`, { headers: { cookie } })).json();
  assert.deepEqual(echo.headers.filter(([name]) => name === "cookie"), [["cookie", cookie]]);
  did("cookies");
}

// Nor does it keep answers.
async function caching() {
  const first = await ask(`${SECURE}/cached?age=60`);
  assert.equal(first.headers.get("cache-control"), "private, max-age=60");
  await first.text();
  for (const [field, value] of [["if-none-match", "etag"], ["if-modified-since", "last-modified"]]) {
    const again = await ask(`${SECURE}/cached?age=60`, { headers: { [field]: first.headers.get(value) } });
    assert.deepEqual([again.status, await again.text()], [304, ""]);
    assert.equal(again.headers.get("etag"), first.headers.get("etag"));
  }
  did("caching");
}

async function compression() {
  const codings = ["gzip", "deflate", "br"];
  for (const coding of codings) {
    const answer = await ask(`${SECURE}/compressed?coding=${coding}&padding=20000&late=the+end`);
    assert.equal(answer.headers.get("content-encoding"), coding);
    assert.ok((await answer.text()).endsWith("<p>the end</p>"), coding);
  }
  did("compression", codings.join(", "));
}

async function ranges() {
  const url = `${SECURE}/file?bytes=100000`;
  const whole = Buffer.from(await (await ask(url)).arrayBuffer());
  for (const [range, part] of [["bytes=1000-1999", whole.subarray(1000, 2000)], ["bytes=-10", whole.subarray(-10)]]) {
    const answer = await ask(url, { headers: { range } });
    assert.equal(answer.status, 206);
    assert.ok(part.equals(Buffer.from(await answer.arrayBuffer())), range);
  }
  did("ranges");
}

async function events() {
  let text = "";
  let number = 0;
  for await (const piece of (await ask(`${SECURE}/acknowledged?name=node`)).body) {
    text += Buffer.from(piece);
    if (!text.endsWith(`data: event ${number}\n\n`)) continue;
    await (await ask(`${SECURE}/acknowledge?name=node&event=${number}`)).text();
    number += 1;
  }
  assert.equal(number, 3);
  did("events");
}

async function refusals() {
  const answer = await ask(`${BLOCKED}/`);
  assert.equal(answer.status, 403);
  assert.ok((await answer.text()).includes("Gambling"));
  did("refusals");
}

for (const feature of [largeFiles, redirects, cookies, caching, compression, ranges, events, refusals]) await feature();
process.exit(0);
