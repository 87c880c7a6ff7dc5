"""What Python has for itself to use a proxy: urllib and http.client. Prints `fine` when everything held."""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request

PROXY = os.environ["PROXY"]
CA = os.environ["CA"]
PLAIN = os.environ["ALLOWED_HTTP"]
SECURE = os.environ["ALLOWED_HTTPS"]
BLOCKED = os.environ["BLOCKED_HTTPS"]
WORDS = os.environ["WORDS"]
WORDY = f"{SECURE}/compressed?padding=5000&late={WORDS.replace(' ', '+')}"


def same(got, expected, what):
    assert got == expected, f"{what}: {got!r} where {expected!r} was expected"


def with_urllib():
    context = ssl.create_default_context(cafile=CA)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": PROXY, "https": PROXY}),
        urllib.request.HTTPSHandler(context=context),
    )
    for base in (PLAIN, SECURE):
        with opener.open(f"{base}/") as answer:
            same(answer.status, 200, "urllib")
            assert b"rivers" in answer.read()
    for url in (f"{BLOCKED}/", WORDY):
        try:
            opener.open(url)
            raise AssertionError(f"{url} was not blocked")
        except urllib.error.HTTPError as error:
            same(error.code, 403, url)
            assert b"Gambling" in error.read()


def with_http_client():
    proxy = urllib.parse.urlsplit(PROXY)
    origin = urllib.parse.urlsplit(SECURE)
    context = ssl.create_default_context(cafile=CA)
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context)
    connection.set_tunnel(origin.hostname, origin.port)
    # Two requests on one connection, the second with a chunked body.
    connection.request("GET", "/")
    same(connection.getresponse().read().count(b"rivers"), 1, "http.client")
    connection.request("POST", "/echo", body=iter([b"one ", b"two"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked", "Content-Type": "text/plain"})
    same(json.loads(connection.getresponse().read())["body"], "one two", "a chunked body")
    connection.close()


with_urllib()
with_http_client()
print("fine")
