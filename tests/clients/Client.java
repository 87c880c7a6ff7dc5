import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.CookieManager;
import java.net.CookiePolicy;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.GZIPInputStream;

/** java.net.http.HttpClient, with the protocol as its argument. Prints a line for each feature that held. */
public class Client {
    static final String PLAIN = System.getenv("PLAIN");
    static final String SECURE = System.getenv("SECURE");
    static final String OTHER = System.getenv("OTHER");
    static final String BLOCKED = System.getenv("BLOCKED");
    static final String FILE_BYTES = System.getenv("FILE_BYTES");
    static final Duration TIMEOUT = Duration.ofSeconds(50);

    final HttpClient client;
    final HttpClient.Version version;

    Client(HttpClient.Version version) {
        URI proxy = URI.create(System.getenv("PROXY"));
        this.version = version;
        client = HttpClient.newBuilder()
            .version(version)
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .followRedirects(HttpClient.Redirect.NORMAL)
            .cookieHandler(new CookieManager(null, CookiePolicy.ACCEPT_ALL))
            .connectTimeout(TIMEOUT)
            .build();
    }

    public static void main(String[] arguments) throws Exception {
        // Where keytool puts it: the client trusts this authority and no other.
        String store = System.getenv("HOME") + "/trust.p12";
        Process keytool = new ProcessBuilder(System.getProperty("java.home") + "/bin/keytool", "-importcert", "-noprompt",
            "-alias", "wardgate", "-file", System.getenv("CA"), "-keystore", store, "-storepass", "changeit")
            .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        same("keytool", keytool.waitFor(), 0);
        System.setProperty("javax.net.ssl.trustStore", store);
        System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
        Client client = new Client(HttpClient.Version.valueOf(arguments[0]));
        client.largeFiles();
        client.redirects();
        client.cookies();
        client.caching();
        client.compression();
        client.ranges();
        client.webSocket();
        client.events();
        client.refusals();
        System.exit(0);
    }

    static void did(String feature, String cell) {
        System.out.println(feature + ": " + cell);
    }

    static void same(String what, Object got, Object expected) {
        if (!expected.equals(got)) throw new AssertionError(what + ": " + got + " where " + expected + " was expected");
    }

    static void contains(String what, String text, String part) {
        if (!text.contains(part)) throw new AssertionError(what + ": no " + part + " in " + text);
    }

    static String moved(int code, String url) {
        return "/moved/" + code + "/" + url.replaceFirst("://", "/");
    }

    static HttpRequest.Builder to(String url) {
        return HttpRequest.newBuilder(URI.create(url)).timeout(TIMEOUT);
    }

    <T> HttpResponse<T> send(HttpRequest.Builder request, HttpResponse.BodyHandler<T> handler) throws Exception {
        HttpResponse<T> answer = client.send(request.build(), handler);
        // What began in the clear goes on in HTTP/1.1, whatever it is led to.
        HttpResponse<T> first = answer;
        while (first.previousResponse().isPresent()) first = first.previousResponse().get();
        if (first.uri().getScheme().equals("https")) same("the protocol", answer.version(), version);
        return answer;
    }

    String text(String url) throws Exception {
        return send(to(url), BodyHandlers.ofString()).body();
    }

    void largeFiles() throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        try (InputStream body = send(to(SECURE + "/file?bytes=" + FILE_BYTES), BodyHandlers.ofInputStream()).body()) {
            byte[] piece = new byte[65536];
            for (int count; (count = body.read(piece)) > 0;) digest.update(piece, 0, count);
        }
        same("a large file", HexFormat.of().formatHex(digest.digest()), System.getenv("FILE_SHA256"));
        byte[] file = new byte[Integer.parseInt(FILE_BYTES)];
        HttpRequest.Builder upload = to(SECURE + "/upload").header("Content-Type", "application/octet-stream")
            .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(file)));
        same("a large upload", send(upload, BodyHandlers.ofString()).body(), FILE_BYTES);
        try {
            text(SECURE + "/broken?length=1000");
            throw new AssertionError("half is taken for the whole");
        } catch (java.io.IOException expected) {
            did("large files", "✓");
        }
    }

    void redirects() throws Exception {
        for (int code : new int[] {301, 302, 303, 307, 308}) {
            HttpRequest.Builder request = to(SECURE + moved(code, OTHER) + "/echo?" + code)
                .header("Content-Type", "application/x-www-form-urlencoded").POST(BodyPublishers.ofString("a=1"));
            String echo = send(request, BodyHandlers.ofString()).body();
            contains("a redirect to another host", echo, "\"method\":\"" + (code < 307 ? "GET" : "POST") + "\"");
            contains("a redirect to another host", echo, "\"path\":\"/echo?" + code + "\"");
            contains("its body", echo, "\"body\":\"" + (code < 307 ? "" : "a=1") + "\"");
        }
        HttpResponse<String> answer = send(to(PLAIN + moved(301, SECURE) + "/?https"), BodyHandlers.ofString());
        same("from http to https", answer.uri().toString(), SECURE + "/?https");
        contains("from http to https", answer.body(), "rivers");
        did("redirects", "✓");
    }

    void cookies() throws Exception {
        same("a login", text(SECURE + "/login"), "welcome");
        String echo = text(SECURE + "/echo");
        contains("cookies", echo, "session=s3cr3t");
        contains("cookies", echo, "theme=dark");
        did("cookies", "✓");
    }

    /** The client keeps no answers: its caller does. */
    void caching() throws Exception {
        HttpResponse<String> first = send(to(SECURE + "/cached?age=60"), BodyHandlers.ofString());
        same("how long it keeps", first.headers().firstValue("Cache-Control").get(), "private, max-age=60");
        String tag = first.headers().firstValue("ETag").get();
        String date = first.headers().firstValue("Last-Modified").get();
        for (String[] field : new String[][] {{"If-None-Match", tag}, {"If-Modified-Since", date}}) {
            HttpRequest.Builder request = to(SECURE + "/cached?age=60").header(field[0], field[1]);
            HttpResponse<String> again = send(request, BodyHandlers.ofString());
            same(field[0], again.statusCode() + again.body(), "304");
            same("the tag of a 304", again.headers().firstValue("ETag").get(), tag);
        }
        did("caching", "✓");
    }

    /** Nor does it decode. */
    void compression() throws Exception {
        HttpRequest.Builder request = to(SECURE + "/compressed?coding=gzip&padding=20000&late=the+end")
            .header("Accept-Encoding", "gzip");
        HttpResponse<InputStream> answer = send(request, BodyHandlers.ofInputStream());
        same("the coding", answer.headers().firstValue("Content-Encoding").get(), "gzip");
        String page = new String(new GZIPInputStream(answer.body()).readAllBytes());
        contains("a page in gzip", page, "<p>the end</p>");
        did("compression", "gzip");
    }

    void ranges() throws Exception {
        String url = SECURE + "/file?bytes=100000";
        byte[] whole = send(to(url), BodyHandlers.ofByteArray()).body();
        HttpResponse<byte[]> answer = send(to(url).header("Range", "bytes=1000-1999"), BodyHandlers.ofByteArray());
        same("a range", answer.statusCode(), 206);
        same("a range", Arrays.equals(answer.body(), Arrays.copyOfRange(whole, 1000, 2000)), true);
        did("ranges", "✓");
    }

    void webSocket() throws Exception {
        // With no connection to the proxy yet: Java 17 takes one of plain HTTP for a tunnel.
        HttpClient client = new Client(version).client;
        List<String> messages = List.of("hello", "a longer message ".repeat(3000));
        for (String address : new String[] {SECURE, PLAIN}) {
            CompletableFuture<Void> echoed = new CompletableFuture<>();
            Iterator<String> expected = messages.iterator();
            WebSocket socket = client.newWebSocketBuilder().connectTimeout(TIMEOUT)
                .buildAsync(URI.create(address.replaceFirst("http", "ws") + "/ws"), new WebSocket.Listener() {
                    final StringBuilder text = new StringBuilder();

                    @Override
                    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
                        text.append(part);
                        socket.request(1);
                        if (!last) return null;
                        try {
                            same("an echo", text.toString(), expected.next());
                        } catch (AssertionError error) {
                            echoed.completeExceptionally(error);
                        }
                        text.setLength(0);
                        if (!expected.hasNext()) echoed.complete(null);
                        return null;
                    }

                    @Override
                    public void onError(WebSocket socket, Throwable error) {
                        echoed.completeExceptionally(error);
                    }
                }).get(50, TimeUnit.SECONDS);
            for (String message : messages) socket.sendText(message, true).get(50, TimeUnit.SECONDS);
            echoed.get(50, TimeUnit.SECONDS);
            socket.sendClose(WebSocket.NORMAL_CLOSURE, "").get(50, TimeUnit.SECONDS);
        }
        did("WebSocket", "✓");
    }

    void events() throws Exception {
        AtomicInteger number = new AtomicInteger();
        Iterator<String> lines = send(to(SECURE + "/acknowledged?name=java"), BodyHandlers.ofLines()).body().iterator();
        while (lines.hasNext()) {
            String line = lines.next();
            if (line.isEmpty()) continue;
            same("an event", line, "data: event " + number);
            text(SECURE + "/acknowledge?name=java&event=" + number.getAndIncrement());
        }
        same("events", number.get(), 3);
        did("events", "✓");
    }

    void refusals() throws Exception {
        HttpResponse<String> answer = send(to(BLOCKED + "/"), BodyHandlers.ofString());
        same("a blocked host", answer.statusCode(), 403);
        contains("a blocked host", answer.body(), "Gambling");
        did("refusals", "✓");
    }
}
