#!/usr/bin/env bash
# curl, with the protocol as its argument (--http1.1 or --http2).
. "$(dirname "$0")/lib.sh"
protocol="$1"

curl() { command curl "$protocol" --silent --show-error --max-time 50 --proxy "$PROXY" --cacert "$CA" "$@"; }
status() { curl --output /dev/null --write-out '%{http_code}' "$@"; }

curl --output file "$SECURE/file?bytes=$FILE_BYTES"
same "a large file" "$(digest file)" "$FILE_SHA256"
same "a large upload" "$(curl --upload-file file "$SECURE/upload")" "$FILE_BYTES"
same "a posted upload" "$(curl --data-binary @file --header 'Content-Type: application/octet-stream' "$SECURE/upload")" \
    "$FILE_BYTES"
did "large files"

for case in 301:GET 302:GET 303:GET 307:POST 308:POST; do
    echo="$(curl --location --data 'a=1' "$SECURE$(moved "${case%:*}" "$OTHER/echo?${case%:*}")")"
    contains "a redirect to another host" "$echo" "\"method\":\"${case#*:}\""
    contains "a redirect to another host" "$echo" "\"path\":\"/echo?${case%:*}\""
done
contains "from http to https" "$(curl --location "$PLAIN$(moved 301 "$SECURE/?https")")" "rivers"
did "redirects"

curl --cookie-jar jar --output /dev/null "$SECURE/login"
echo="$(curl --cookie jar "$SECURE/echo")"
contains "cookies" "$echo" "session=s3cr3t"
contains "cookies" "$echo" "theme=dark"
did "cookies"

curl --etag-save tag --output page "$SECURE/cached?age=0"
same "a known tag" "$(status --etag-compare tag "$SECURE/cached?age=0")" 304
same "a known date" "$(status --time-cond "$(date -R)" --header 'If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT' \
    "$SECURE/cached?age=0")" 304
contains "the page itself" "$(cat page)" "rivers"
did "caching"

for coding in gzip br zstd; do
    page="$(curl --compressed "$SECURE/compressed?coding=$coding&padding=20000&late=the+end")"
    contains "a page in $coding" "$page" "<p>the end</p>"
done
did "compression" "gzip, br, zstd"

same "a range" "$(curl --range 1000-1999 "$SECURE/file?bytes=$FILE_BYTES" | sha256sum)" \
    "$(tail -c +1001 file | head -c 1000 | sha256sum)"
head -c 20000000 file >part
curl --continue-at - --output part "$SECURE/file?bytes=$FILE_BYTES"
same "a download resumed" "$(digest part)" "$FILE_SHA256"
did "ranges"

number=0
while read -r line; do
    [ -n "$line" ] || continue
    same "an event" "$line" "data: event $number"
    curl --output /dev/null "$SECURE/acknowledge?name=curl&event=$number"
    number=$((number + 1))
done < <(curl --no-buffer "$SECURE/acknowledged?name=curl")
same "events" "$number" 3
did "events"

same "a blocked host" "$(status "$BLOCKED/")" 403
contains "a blocked host" "$(curl "$BLOCKED/")" "Gambling"
did "refusals"
