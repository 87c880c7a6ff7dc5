#!/usr/bin/env bash
# apt, with a root of its own and a small repository that the origin gives out.
. "$(dirname "$0")/lib.sh"

# A package of this name that holds so many bytes.
package() {
    mkdir -p "$1/DEBIAN" "$1/usr/share/$1"
    printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: A technician <technician@example.test>\nDescription: a test\n' \
        "$1" >"$1/DEBIAN/control"
    head -c "$2" /dev/urandom >"$1/usr/share/$1/content"
    dpkg-deb -Znone --build --root-owner-group "$1" "$repository/$1_1.0_all.deb" >/dev/null
}

# What apt must know of each package, and of the list of them, which is also found by its digest.
index() {
    (
        cd "$repository"
        for file in *.deb; do
            dpkg-deb --field "$file"
            printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(digest "$file")"
        done >Packages
        mkdir -p by-hash/SHA256
        cp Packages "by-hash/SHA256/$(digest Packages)"
        printf 'Date: %s\nAcquire-By-Hash: yes\nSHA256:\n %s %s Packages\n' \
            "$(date -Ru | sed 's/+0000/UTC/')" "$(digest Packages)" "$(stat -c %s Packages)" >Release
    )
}

repository="$ROOT/debian"
mkdir -p "$repository"
for name in one two three four five six; do
    package "$name" 20000
done
package large "$FILE_BYTES"
index

mkdir -p apt/{etc/{apt.conf,sources.list,preferences}.d,lists/partial,cache/archives/partial}
touch apt/status
cat >apt.conf <<CONFIG
Dir "$work/apt";
Dir::Etc "$work/apt/etc";
Dir::State "$work/apt";
Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::https::Timeout "50";
Acquire::https::Proxy "$PROXY";
Acquire::https::CAInfo "$CA";
CONFIG
apt_get() { APT_CONFIG="$work/apt.conf" apt-get --quiet --yes "$@" 2>&1; }
source_from() { printf 'deb [trusted=yes] %s ./\n' "$1" >apt/etc/sources.list; }

source_from "$SECURE/files/debian"
apt_get update >/dev/null
# Six at once: apt sends them one behind the other without waiting for the answers.
apt_get install --download-only one two three four five six >/dev/null
for name in one two three four five six; do
    cmp "apt/cache/archives/${name}_1.0_all.deb" "$repository/${name}_1.0_all.deb"
done

# The rest of what is there in part already.
partial=apt/cache/archives/partial/large_1.0_all.deb
head -c 20000000 "$repository/large_1.0_all.deb" >"$partial"
touch --reference="$repository/large_1.0_all.deb" "$partial"
apt_get install --download-only large >/dev/null
cmp "apt/cache/archives/large_1.0_all.deb" "$repository/large_1.0_all.deb"
did "ranges"
did "large files"

contains "nothing new" "$(apt_get update)" "Hit:"
did "caching"

source_from "$SECURE$(moved 301 "$OTHER/files/debian")"
rm -rf apt/lists/*
apt_get update >/dev/null
apt_get clean
apt_get install --download-only one >/dev/null
cmp "apt/cache/archives/one_1.0_all.deb" "$repository/one_1.0_all.deb"
did "redirects"

source_from "$BLOCKED/files/debian"
refused="$(apt_get update || true)"
contains "a blocked host" "$refused" "403"
did "refusals"
