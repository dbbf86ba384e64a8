#!/usr/bin/env bash
# bubblewrap, the strongest of the sandboxes around experiments; weaker ones need nothing installed.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

have bwrap || install_packages "bubblewrap, the experiments' sandbox" "seconds" bubblewrap
