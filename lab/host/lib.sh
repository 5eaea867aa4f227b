# shellcheck shell=bash
# What every script of the local cloud shares: words for people, the place for state, one run at a time.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$repository/var
export repository state

say() { printf '%s\n' "swarmhub: $*"; }

# die MESSAGE [WHAT TO DO]...: every failure names what is wrong first and then what to do about it.
die() {
    printf '%s\n' "swarmhub: $1" >&2
    shift
    local line
    for line in "$@"; do printf '          %s\n' "$line" >&2; done
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# quietly LOG COMMAND...: runs it with its output in a file that is shown only when it fails.
quietly() {
    local log=$state/log/$1.log status=0
    shift
    mkdir -p "$state/log"
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] && return 0
    tail -n 30 "$log" >&2
    say "this failed (the whole output is in var/log/$(basename "$log")): $*" >&2
    return "$status"
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds; the deadline is an error that names what.
wait_for() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || {
            say "gave up after $seconds s waiting for $what" >&2
            return 1
        }
        sleep 0.5
    done
}

apt_install() { # PACKAGE...
    is_root || die "these packages are missing and only root can install them: $*" \
        "Run: sudo apt-get install --no-install-recommends $*" "or run this command with sudo."
    command -v apt-get >/dev/null || die "this machine has no apt-get, and these packages are missing: $*" \
        "Install what corresponds to them on your system and try again."
    say "installing $*"
    [ -n "${apt_updated:-}" ] || quietly apt-update apt-get update
    apt_updated=1
    DEBIAN_FRONTEND=noninteractive quietly apt-install apt-get install --yes --no-install-recommends "$@"
}
