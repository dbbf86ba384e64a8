#!/usr/bin/env bash
# check-staged-files.sh large|keys FILE...: what never belongs in the repository.
set -euo pipefail
what=$1
shift
found=0
for file; do
    case $what in
    large) [ "$(stat -c %s -- "$file")" -le 1048576 ] || { echo "$file is over 1 MB" && found=1; } ;;
    keys)
        if grep -qE -- '-----BEGIN ([A-Z]+ )*PRIVATE KEY|\bsk-(ant|proj)-[A-Za-z0-9_-]{20,}' "$file"; then
            echo "$file holds a private key" && found=1
        fi
        ;;
    esac
done
exit $found
