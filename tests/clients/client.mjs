// Node's ways to use a proxy with nothing but its own modules: http in absolute form, and CONNECT with tls, http and
// http2 inside. Prints `fine` when everything held.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import tls from "node:tls";
import { gunzipSync } from "node:zlib";

const proxy = new URL(process.env.PROXY);
const ca = readFileSync(process.env.CA);
const plain = new URL(process.env.ALLOWED_HTTP);
const secure = new URL(process.env.ALLOWED_HTTPS);
const blocked = new URL(process.env.BLOCKED_HTTPS);
const wordy = `/compressed?padding=5000&late=${process.env.WORDS.replaceAll(" ", "+")}`;

/** Collects an answer. */
function whole(answer) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    answer.on("data", (piece) => pieces.push(piece));
    answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(pieces) }));
    answer.on("error", reject);
    answer.on("aborted", () => reject(new Error("cut short")));
  });
}

/** One request by node:http. */
function ask(options, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(options, (answer) => resolve(whole(answer)));
    request.on("error", reject);
    request.end(body);
  });
}

/** CONNECT, and TLS inside. */
function tunnel(origin, alpn) {
  return new Promise((resolve, reject) => {
    const connect = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: origin.host });
    connect.on("connect", (answer, socket) => {
      if (answer.statusCode !== 200) return reject(new Error(`CONNECT: ${answer.statusCode}`));
      const inside = tls.connect({ socket, ca, servername: origin.hostname, ALPNProtocols: alpn }, () => resolve(inside));
      inside.on("error", reject);
    });
    connect.on("error", reject);
    connect.end();
  });
}

async function absoluteForm() {
  const path = `${plain.origin}/echo`;
  const agent = new http.Agent({ keepAlive: true });
  for (const body of ["first", "second"]) {
    const options = { agent, host: proxy.hostname, port: proxy.port, method: "POST", path };
    const answer = await ask({ ...options, headers: { host: plain.host, "content-type": "text/plain" } }, body);
    assert.equal(answer.status, 200);
    assert.equal(JSON.parse(answer.body).body, body);
  }
  agent.destroy();
}

async function insideTls() {
  const socket = await tunnel(secure, ["http/1.1"]);
  const options = { createConnection: () => socket, path: "/compressed?padding=9000&late=the+end" };
  const answer = await ask({ ...options, headers: { host: secure.host } });
  assert.equal(answer.status, 200);
  assert.ok(gunzipSync(answer.body).toString().endsWith("<p>the end</p>"));

  for (const [origin, path] of [[blocked, "/"], [secure, wordy]]) {
    const socket = await tunnel(origin, ["http/1.1"]);
    const answer = await ask({ createConnection: () => socket, path, headers: { host: origin.host } });
    assert.equal(answer.status, 403, path);
    assert.ok(answer.body.includes("Gambling"), path);
  }
  const broken = await tunnel(secure, ["http/1.1"]);
  const short = { createConnection: () => broken, path: "/broken?length=1000", headers: { host: secure.host } };
  await assert.rejects(ask(short));
}

async function insideHttp2() {
  const socket = await tunnel(secure, ["h2"]);
  assert.equal(socket.alpnProtocol, "h2");
  const session = http2.connect(secure.origin, { createConnection: () => socket });
  const one = (path) => new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path });
    const pieces = [];
    let status;
    stream.on("response", (headers) => { status = headers[":status"]; });
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => resolve({ status, body: Buffer.concat(pieces) }));
    stream.on("error", reject);
    stream.end();
  });
  const paths = ["/", "/status?code=200", "/download?bytes=1000000", wordy];
  const [page, status, download, words] = await Promise.all(paths.map(one));
  assert.ok(page.body.includes("rivers"));
  assert.equal(status.status, 200);
  assert.equal(download.body.length, 1000000);
  assert.equal(words.status, 403);
  session.close();
}

await absoluteForm();
await insideTls();
await insideHttp2();
console.log("fine");
process.exit(0);
