#!/usr/bin/env bash
# git over HTTPS: clone, push and fetch.
. "$(dirname "$0")/lib.sh"

export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
git config --global user.name "A technician"
git config --global user.email technician@example.test
git config --global init.defaultBranch main
git config --global http.proxy "$PROXY"
git config --global http.sslCAInfo "$CA"
git config --global http.cookieFile "$HOME/cookies"
git config --global http.saveCookies true
git config --global core.compression 0

git init --quiet --bare "$ROOT/git/notes.git"
git -C "$ROOT/git/notes.git" config http.receivepack true

git init --quiet notes
head -c 16000000 /dev/urandom >notes/large
printf 'The river is long.\n' >notes/page
git -C notes add .
git -C notes commit --quiet --message "A large file and a small one"
# Beyond one mebibyte the push is sent in chunks.
git -C notes push --quiet "$SECURE/git/notes.git" main
git clone --quiet "$SECURE/git/notes.git" copy
same "a large file" "$(digest copy/large)" "$(digest notes/large)"
did "large files"

# Many commits that both sides know make fetch negotiate, in requests that git compresses.
for number in $(seq 60); do
    git -C copy commit --quiet --allow-empty --message "Commit $number"
done
printf 'And wide.\n' >>notes/page
git -C notes commit --quiet --all --message "A second line"
git -C notes push --quiet "$SECURE/git/notes.git" main
git -C copy fetch --quiet
same "a fetch" "$(git -C copy show origin/main:page | tail -n 1)" "And wide."
did "compression" "gzip"

contains "a cookie kept" "$(cat "$HOME/cookies")" "git"
did "cookies"

git clone --quiet "$SECURE$(moved 301 "$OTHER/git/notes.git")" moved
same "a clone from where it has moved to" "$(git -C moved rev-parse HEAD)" "$(git -C notes rev-parse HEAD)"
did "redirects"

refused="$(git ls-remote "$BLOCKED/git/notes.git" 2>&1 || true)"
contains "a blocked host" "$refused" "403"
did "refusals"
