#!/usr/bin/env bash
# Chromium, with which the tests look at the review page as a person does.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

have chromium || have google-chrome ||
    install_packages "Chromium for the tests of the review page (410 MB)" "about a minute" chromium
