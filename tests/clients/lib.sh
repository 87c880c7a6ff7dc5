# What the scripts for command-line clients share. A script says `did FEATURE CELL` once a feature of its client held;
# the test compares that with its table.
set -euo pipefail

did() { printf '%s: %s\n' "$1" "${2:-✓}"; }

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# same WHAT GOT EXPECTED
same() { [ "$2" = "$3" ] || fail "$1: $(printf '%q' "$2") where $(printf '%q' "$3") was expected"; }

# contains WHAT TEXT PART
contains() { [[ "$2" == *"$3"* ]] || fail "$1: no $(printf '%q' "$3") in $(printf '%q' "$2")"; }

digest() { sha256sum "$1" | cut -d' ' -f1; }

# Where /moved/CODE/… leads to an address.
moved() { printf '/moved/%s/%s' "$1" "${2/:\/\///}"; }

work="$HOME/work"
mkdir -p "$work"
cd "$work"
