#!/usr/bin/env bash
# wget, which speaks HTTP/1.1.
. "$(dirname "$0")/lib.sh"

export https_proxy="$PROXY" http_proxy="$PROXY"
wget() { command wget --no-config --no-hsts --tries=1 --timeout=50 --ca-certificate="$CA" "$@"; }
page() { wget --quiet --output-document=- "$@"; }
# The statuses of all answers, in order.
statuses() { wget --server-response --output-document=/dev/null "$@" 2>&1 | sed -n 's|^ *HTTP/1.1 \([0-9]*\).*|\1|p'; }

wget --quiet --output-document=file "$SECURE/file?bytes=$FILE_BYTES"
same "a large file" "$(digest file)" "$FILE_SHA256"
same "a large upload" "$(page --post-file=file --header='Content-Type: application/octet-stream' "$SECURE/upload")" \
    "$FILE_BYTES"
did "large files"

for case in 301:GET 302:GET 303:GET 307:POST 308:POST; do
    echo="$(page --post-data='a=1' "$SECURE$(moved "${case%:*}" "$OTHER/echo?${case%:*}")")"
    contains "a redirect to another host" "$echo" "\"method\":\"${case#*:}\""
    contains "a redirect to another host" "$echo" "\"path\":\"/echo?${case%:*}\""
done
contains "from http to https" "$(page "$PLAIN$(moved 301 "$SECURE/?https")")" "rivers"
did "redirects"

page --save-cookies=jar --keep-session-cookies "$SECURE/login" >/dev/null
echo="$(page --load-cookies=jar "$SECURE/echo")"
contains "cookies" "$echo" "session=s3cr3t"
contains "cookies" "$echo" "theme=dark"
did "cookies"

# It keeps the date of what it has, and asks whether there is something newer.
wget --quiet --timestamping "$SECURE/cached"
touch -d 'Tue, 14 Nov 2023 22:13:20 GMT' cached
contains "what it has already" "$(wget --timestamping "$SECURE/cached" 2>&1)" "304 Not Modified"
contains "what it has already" "$(cat cached)" "rivers"
did "caching"

contains "a page in gzip" "$(page --compression=gzip "$SECURE/compressed?coding=gzip&padding=20000&late=the+end")" \
    "<p>the end</p>"
did "compression" "gzip"

head -c 20000000 file >part
wget --quiet --continue --output-document=part "$SECURE/file?bytes=$FILE_BYTES"
same "a download resumed" "$(digest part)" "$FILE_SHA256"
did "ranges"

number=0
while read -r line; do
    [ -n "$line" ] || continue
    same "an event" "$line" "data: event $number"
    page "$SECURE/acknowledge?name=wget&event=$number" >/dev/null
    number=$((number + 1))
done < <(page "$SECURE/acknowledged?name=wget")
same "events" "$number" 3
did "events"

same "a blocked host" "$(statuses "$BLOCKED/" || true)" 403
contains "a blocked host" "$(page --content-on-error "$BLOCKED/" || true)" "Gambling"
did "refusals"
