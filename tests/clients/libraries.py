"""Python's requests, httpx (with HTTP/1.1 or HTTP/2) and websockets; the argument says which. Prints a line for each
feature of the library that held."""

import asyncio
import hashlib
import os
import socket
import ssl
import sys
import urllib.parse

PROXY = os.environ["PROXY"]
CA = os.environ["CA"]
PLAIN = os.environ["PLAIN"]
SECURE = os.environ["SECURE"]
OTHER = os.environ["OTHER"]
BLOCKED = os.environ["BLOCKED"]
FILE = f"{SECURE}/file?bytes={os.environ['FILE_BYTES']}"
FILE_BYTES = int(os.environ["FILE_BYTES"])
FILE_SHA256 = os.environ["FILE_SHA256"]
TIMEOUT = 50


def same(got, expected, what):
    assert got == expected, f"{what}: {got!r} where {expected!r} was expected"


def did(feature, cell="✓"):
    print(f"{feature}: {cell}", flush=True)


def moved(code, url):
    return f"/moved/{code}/{url.replace('://', '/', 1)}"


class Requests:
    def __init__(self):
        import requests

        self.session = requests.Session()
        self.session.trust_env = False
        self.session.proxies = {"http": PROXY, "https": PROXY}
        self.session.verify = CA
        self.cut_short = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)

    def ask(self, method, url, **options):
        return self.session.request(method, url, timeout=TIMEOUT, **options)

    def pieces(self, url):
        with self.session.get(url, stream=True, timeout=TIMEOUT) as answer:
            same(answer.status_code, 200, url)
            yield from answer.iter_content(64 * 1024)

    def lines(self, url):
        with self.session.get(url, stream=True, timeout=TIMEOUT) as answer:
            yield from answer.iter_lines(chunk_size=1, decode_unicode=True)

    def upload(self, url, pieces):
        return self.ask("POST", url, data=pieces, headers={"Content-Type": "application/octet-stream"})


class Httpx:
    def __init__(self, http2):
        import httpx

        context = ssl.create_default_context(cafile=CA)
        options = {"verify": context, "http2": http2, "trust_env": False, "timeout": TIMEOUT, "follow_redirects": True}
        try:
            self.session = httpx.Client(proxy=PROXY, **options)
        except TypeError:  # before version 0.26
            self.session = httpx.Client(proxies=PROXY, **options)
        self.cut_short = (httpx.RemoteProtocolError,)

    def ask(self, method, url, **options):
        return self.session.request(method, url, **options)

    def pieces(self, url):
        with self.session.stream("GET", url) as answer:
            same(answer.status_code, 200, url)
            yield from answer.iter_bytes(64 * 1024)

    def lines(self, url):
        with self.session.stream("GET", url) as answer:
            for line in answer.iter_lines():
                yield line.rstrip("\n")

    def upload(self, url, pieces):
        return self.ask("POST", url, content=pieces, headers={"Content-Type": "application/octet-stream"})


def large_files(client):
    digest = hashlib.sha256()
    for piece in client.pieces(FILE):
        digest.update(piece)
    same(digest.hexdigest(), FILE_SHA256, "a large file")
    piece = b"u" * 65536
    answer = client.upload(f"{SECURE}/upload", (piece for _ in range(FILE_BYTES // len(piece))))
    same(answer.text, str(FILE_BYTES), "a large upload")
    try:
        answer = client.ask("GET", f"{SECURE}/broken?length=1000")
        # Before version 2.32 requests hands over what came and leaves the comparison to its caller.
        same(answer.headers["Content-Length"], "1000", "the length that was announced")
        assert len(answer.content) < 1000, "what was cut short came as if it were whole"
    except client.cut_short:
        pass
    did("large files")


def redirects(client):
    for code, method in ((301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")):
        echo = client.ask("POST", f"{SECURE}{moved(code, OTHER)}/echo?{code}", data={"a": "1"}).json()
        same((echo["method"], echo["path"]), (method, f"/echo?{code}"), f"a {code} to another host")
        same(echo["body"], "a=1" if method == "POST" else "", f"the body behind a {code}")
    answer = client.ask("GET", f"{PLAIN}{moved(301, SECURE)}/?https")
    same(str(answer.url), f"{SECURE}/?https", "from http to https")
    assert "rivers" in answer.text
    did("redirects")


def cookies(client):
    same(client.ask("GET", f"{SECURE}/login").text, "welcome", "a login")
    same(dict(client.session.cookies), {"session": "s3cr3t", "theme": "dark"}, "cookies set")
    echo = client.ask("GET", f"{SECURE}/echo").json()
    sent = [value for name, value in echo["headers"] if name == "cookie"]
    same([sorted(value.split("; ")) for value in sent], [["session=s3cr3t", "theme=dark"]], "cookies sent")
    did("cookies")


def caching(client):
    first = client.ask("GET", f"{SECURE}/cached?age=60")
    same(first.headers["Cache-Control"], "private, max-age=60", "how long it keeps")
    for field, value in (("If-None-Match", first.headers["ETag"]), ("If-Modified-Since", first.headers["Last-Modified"])):
        again = client.ask("GET", f"{SECURE}/cached?age=60", headers={field: value})
        same((again.status_code, again.content), (304, b""), field)
        same(again.headers["ETag"], first.headers["ETag"], "the tag of a 304")
    did("caching")


def compression(client):
    for coding in ("gzip", "deflate"):
        answer = client.ask("GET", f"{SECURE}/compressed?coding={coding}&padding=20000&late=the+end")
        same(answer.headers["Content-Encoding"], coding, "the coding")
        assert answer.text.endswith("<p>the end</p>"), answer.text
    did("compression", "gzip, deflate")


def ranges(client):
    whole = client.ask("GET", f"{SECURE}/file?bytes=100000").content
    for field, part in (("bytes=1000-1999", whole[1000:2000]), ("bytes=99000-", whole[99000:]), ("bytes=-10", whole[-10:])):
        answer = client.ask("GET", f"{SECURE}/file?bytes=100000", headers={"Range": field})
        same((answer.status_code, answer.content), (206, part), field)
    answer = client.ask("GET", f"{SECURE}/file?bytes=100000", headers={"Range": "bytes=100000-"})
    same((answer.status_code, answer.headers["Content-Range"]), (416, "bytes */100000"), "a range behind the end")
    did("ranges")


def events(client, other):
    events = []
    for line in client.lines(f"{SECURE}/acknowledged?name=python"):
        if line:
            same(line, f"data: event {len(events)}", "an event")
            other.ask("GET", f"{SECURE}/acknowledge?name=python&event={len(events)}")
            events.append(line)
    same(len(events), 3, "events")
    did("events")


def refusals(client):
    answer = client.ask("GET", f"{BLOCKED}/")
    same(answer.status_code, 403, "a blocked host")
    assert "Gambling" in answer.text
    did("refusals")


def tunnel(authority):
    """CONNECT, by hand: before version 15 websockets leaves proxies to its caller."""
    proxy = urllib.parse.urlsplit(PROXY)
    stream = socket.create_connection((proxy.hostname, proxy.port), timeout=TIMEOUT)
    stream.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.recv(1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    stream.setblocking(False)
    return stream


async def converse():
    import websockets

    context = ssl.create_default_context(cafile=CA)
    origin = urllib.parse.urlsplit(SECURE)
    stream = tunnel(origin.netloc)
    async with websockets.connect(f"wss://{origin.netloc}/ws", ssl=context, sock=stream, server_hostname=origin.hostname) as talk:
        for message in ("hello", "a longer message " * 3000, b"\x00\xff bytes"):
            await talk.send(message)
            same(await talk.recv(), message, "an echo")
    did("WebSocket")
    blocked = urllib.parse.urlsplit(BLOCKED)
    stream = tunnel(blocked.netloc)
    try:
        await websockets.connect(f"wss://{blocked.netloc}/ws", ssl=context, sock=stream, server_hostname=blocked.hostname)
        raise AssertionError("a blocked host is answered")
    except websockets.InvalidHandshake as error:
        assert "403" in str(error), error
    did("refusals")


def main(library):
    if library == "websockets":
        return asyncio.run(converse())
    client, other = (Requests() if library == "requests" else Httpx(library == "httpx2") for _ in range(2))
    for feature in (large_files, redirects, cookies, caching, compression, ranges, refusals):
        feature(client)
    events(client, other)


main(sys.argv[1])
