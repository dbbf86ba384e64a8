#!/usr/bin/env bash
# How many small faults do the tests notice in the modules that decide what is believed?
# Builds an environment with cosmic-ray and a clone to break under build/, then runs mutate.py.
#     scripts/mutation.sh [--sample N] [--seed N] [--limit SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD tools=$PWD/build/mutation clone=$PWD/build/mutated
if [ ! -x "$tools/bin/cosmic-ray" ]; then
  .venv/bin/python -m venv "$tools"
  "$tools/bin/pip" install --quiet cosmic-ray==8.7.0
  .venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
    > "$("$tools/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/project.pth"
fi
rm -rf "$clone"
git clone --quiet . "$clone"
ln -s "$checkout/.venv" "$clone/.venv"
cd "$clone"
worst=0
while read -r module tests; do
  # shellcheck disable=SC2086  # several tests
  "$tools/bin/python" scripts/mutate.py "ai_scientist/$module" $tests "$@" || worst=1
done <<'MODULES'
results/reading.py tests/test_results.py
run_folder/journal.py tests/test_journal.py
judging/gates.py tests/test_gate_rules.py tests/test_gates.py
claims/check.py tests/test_claims.py tests/test_claims_layout.py tests/test_claims_names.py
MODULES
exit $worst
