#!/usr/bin/env bash
# Build .venv, the agent's own environment, from requirements.lock. Nothing to do when it is current.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh

is_current() { [ -x .venv/bin/python ] && cmp -s requirements.lock .venv/requirements.lock; }

# A name on the PATH proves little (pyenv's shims only print an error), so each is asked.
find_python() {
    local name
    for name in python3.11 python3.12 python3 /usr/bin/python3.11 /usr/bin/python3.12; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

is_current && exit 0
exec 9<requirements.lock && flock 9 # of two makes at a time, the second waits here
is_current && exit 0

if ! python=$(find_python); then
    echo "error: there is no Python 3.11 or 3.12 on this machine" >&2
    echo "hint: $(as_root)apt-get install python3.11 python3.11-venv   (python3.12 on newer systems)" >&2
    exit 2
fi
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
can_make_environments() { "$python" -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null; }
if ! can_make_environments; then
    install_packages "Python's venv module" "a few seconds" "$version-venv"
    if ! can_make_environments; then
        echo "error: $python cannot make environments: its venv module is missing" >&2
        echo "hint: $(as_root)apt-get install $version-venv" >&2
        exit 2
    fi
fi

echo "Building .venv from $(grep -c == requirements.lock) packages with $version: about a minute, more on a slow line."
rm -rf .venv
"$python" -m venv .venv
if ! .venv/bin/python -m pip install --no-deps --no-input --disable-pip-version-check \
    --requirement requirements.lock >.venv/pip.log 2>&1; then
    echo "error: pip could not install requirements.lock: $(grep -v '^WARNING' .venv/pip.log | tail -n 2 | tr '\n' ' ')" >&2
    echo "hint: is the package index reachable? then the same command again; all of it: .venv/pip.log" >&2
    exit 2
fi
cp requirements.lock .venv/requirements.lock
