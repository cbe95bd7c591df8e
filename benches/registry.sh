#!/bin/bash
# `wharf registry` beside Debian's docker-registry, over one storage folder, in one run, in turn, in a world of their own.
# Prints medians and ratios. Usage: benches/registry.sh FOLDER-WITH-PROGRAMS [registry.py's options]. Wants wrk and curl.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kit=$root/crates/wharf-testkit
bin=$(cd "$1" && pwd)
shift
for tool in wrk curl docker-registry; do
    command -v $tool > /dev/null || { echo "registry.sh: install $tool first"; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/var/tmp}/wharf-bench-XXXXXX")
name=wharf-bench-$$
cleanup() {
    for hierarchy in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
        find "$hierarchy" -depth -type d -path "*/$name*" -exec rmdir {} \; 2> /dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
bash "$kit/src/world/enter.sh" "$name" \
    "$(cat "$kit/src/world/mounts.sh"; echo 'exec python3 "$@"')" \
    "$root/benches/registry.py" "$bin" "$work" "$@"
