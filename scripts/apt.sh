# Sourced by the setup scripts: install Debian packages when this user may, else say the command.

may_install() {
    have apt-get || return 1
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

# Whether every named command is there (`command -v` with several is content with one of them).
have() {
    local name
    for name; do
        command -v "$name" >/dev/null || return 1
    done
}

as_root() { [ "$(id -u)" -eq 0 ] || echo "sudo "; }

# install_packages WHAT HOW_LONG PACKAGE...
# Always succeeds: what is missing without them is told by the program itself, where it matters.
install_packages() {
    local what=$1 how_long=$2
    shift 2
    local command="apt-get install -y --no-install-recommends $*"
    if ! may_install; then
        echo "Not installed: $what. To have it: $(as_root)$command"
        return 0
    fi
    echo "Installing $what: $how_long."
    local log
    log=$(mktemp)
    exec 8<"${BASH_SOURCE[0]}" && flock 8 # apt-get update has no queue of its own
    # Package lists are fetched only when they do not serve: absent on a fresh image, or outdated.
    if run_apt install -y --no-install-recommends "$@" >"$log" 2>&1 ||
        { run_apt update && run_apt install -y --no-install-recommends "$@"; } >>"$log" 2>&1 ||
        { sleep 5 && run_apt update && run_apt install -y --no-install-recommends "$@"; } >>"$log" 2>&1; then
        rm -f "$log"
    else
        echo "Not installed: $what. apt-get said: $(grep -E '^(E|Err):' "$log" | tail -n 2 | tr '\n' ' ')"
        echo "To try by hand: $(as_root)$command   (all of its output: $log)"
    fi
    exec 8<&-
}

run_apt() {
    $(as_root) env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 "$@" </dev/null
}
