// What a browser does in a page of the allowed host. The test puts `env` in front, and `done` is told what held.

const assert = (holds, what) => {
  if (!holds) throw new Error(what);
};
const same = (what, got, expected) => assert(got === expected, `${what}: ${got} where ${expected} was expected`);
const moved = (code, url) => `/moved/${code}/${url.replace("://", "/")}`;
const did = {};

async function largeFiles() {
  const file = await (await fetch(`/file?bytes=${env.FILE_BYTES}`)).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", file));
  same("a large file", Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""), env.FILE_SHA256);
  const headers = { "content-type": "application/octet-stream" };
  const upload = await fetch("/upload", { method: "POST", body: new Blob([file]), headers });
  same("a large upload", await upload.text(), env.FILE_BYTES);
  const broken = await fetch("/broken?length=1000").then((answer) => answer.text()).catch(() => "an error");
  same("what was cut short", broken, "an error");
  did["large files"] = "✓";
}

async function redirects() {
  for (const [code, method] of [[301, "GET"], [302, "GET"], [303, "GET"], [307, "POST"], [308, "POST"]]) {
    const body = new URLSearchParams({ a: "1" });
    const echo = await (await fetch(`${moved(code, env.OTHER)}/echo?${code}`, { method: "POST", body })).json();
    same(`a ${code} to another host`, `${echo.method} ${echo.path}`, `${method} /echo?${code}`);
    same(`the body behind a ${code}`, echo.body, method === "POST" ? "a=1" : "");
  }
  did.redirects = "✓";
}

async function cookies() {
  same("a login", await (await fetch("/login")).text(), "welcome");
  same("what scripts may see", document.cookie, "theme=dark");
  const echo = await (await fetch("/echo")).json();
  const sent = echo.headers.filter(([name]) => name === "cookie").map(([, value]) => value.split("; ").sort().join("; "));
  same("cookies sent", sent.join(", "), "session=s3cr3t; theme=dark");
  did.cookies = "✓";
}

// The test knows how often the origin was asked.
async function caching() {
  for (const url of ["/cached?age=600", "/cached?age=0"]) {
    for (const time of ["first", "second"]) {
      const answer = await fetch(url);
      same(`${url}, the ${time} time`, answer.status, 200);
      assert((await answer.text()).includes("rivers"), `${url}, the ${time} time: not the page`);
    }
  }
  did.caching = "✓";
}

async function compression() {
  const codings = ["gzip", "br", "zstd"];
  for (const coding of codings) {
    const text = await (await fetch(`/compressed?coding=${coding}&padding=20000&late=the+end`)).text();
    assert(text.endsWith("<p>the end</p>"), `${coding}: ${text.slice(-200)}`);
  }
  did.compression = codings.join(", ");
}

async function ranges() {
  const whole = new Uint8Array(await (await fetch("/file?bytes=100000")).arrayBuffer());
  const answer = await fetch("/file?bytes=100000", { headers: { range: "bytes=1000-1999" }, cache: "no-store" });
  same("a range", answer.status, 206);
  same("a range", String(new Uint8Array(await answer.arrayBuffer())), String(whole.slice(1000, 2000)));
  did.ranges = "✓";
}

function converse(url, messages) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    const echoed = [];
    socket.onopen = () => messages.forEach((message) => socket.send(message));
    socket.onmessage = (message) => {
      echoed.push(message.data);
      if (echoed.length === messages.length) socket.close(1000);
    };
    socket.onclose = (close) => {
      if (close.wasClean && echoed.join() === messages.join()) resolve();
      else reject(new Error(`${url}: closed with ${close.code} behind ${echoed.length} echoes`));
    };
  });
}

async function webSocket() {
  const address = (url) => url.replace("http", "ws") + "/ws";
  await converse(address(env.SECURE), ["hello", "a longer message ".repeat(3000)]);
  const refused = await converse(address(env.BLOCKED), ["hello"]).catch(() => "refused");
  same("a WebSocket to a blocked host", refused, "refused");
  did.WebSocket = "✓";
}

async function events() {
  const source = new EventSource("/acknowledged?name=browser");
  let received = 0;
  await new Promise((resolve, reject) => {
    source.onmessage = async (message) => {
      const number = received;
      received += 1;
      if (message.data !== `event ${number}`) reject(new Error(`event ${number}: ${message.data}`));
      await fetch(`/acknowledge?name=browser&event=${number}`);
      if (received === 3) resolve();
    };
    // Its end behind the last event is one too.
    source.onerror = () => received < 3 && reject(new Error(`the stream broke behind ${received} events`));
  });
  source.close();
  did.events = "✓";
}

// A page cannot read what another host answers unless it allows that, so a frame shows it.
async function refusals() {
  const frame = document.createElement("iframe");
  const loaded = new Promise((resolve) => (frame.onload = resolve));
  frame.src = `${env.BLOCKED}/in-a-frame`;
  document.body.append(frame);
  await loaded;
  did.refusals = "✓";
}

(async () => {
  for (const feature of [largeFiles, redirects, cookies, caching, compression, ranges, webSocket, events, refusals]) {
    await feature();
  }
  return did;
})().then(done, (error) => done(`${error.message}, with ${JSON.stringify(did)} before`));
