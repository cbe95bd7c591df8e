#!/bin/bash
# Wharf beside every engine that is installed, in one run, in turn (A B A B), in a world of their own. Prints
# medians and ratios. Usage: benches/run.sh FOLDER-WITH-PROGRAMS [bench.py's options]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kit=$root/crates/wharf-testkit
bin=$(cd "$1" && pwd)
shift
work=$(mktemp -d "${TMPDIR:-/var/tmp}/wharf-bench-XXXXXX")
name=wharf-bench-$$
cleanup() {
    for hierarchy in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
        find "$hierarchy" -depth -type d -path "*/$name*" -exec rmdir {} \; 2> /dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
fixtures=$(bash "$kit/fixtures/large.sh")
WHARF_CLIENTS=$(bash "$kit/fixtures/clients.sh")
# Builds are measured beside the newest dockerd, buildx and buildah that Debian has.
WHARF_DOCKERD=$(bash "$kit/fixtures/dockerd-26.sh")
WHARF_PLUGINS=$(bash "$kit/fixtures/cli-plugins.sh")
WHARF_BUILDAH=$(bash "$kit/fixtures/buildah.sh")
WHARF_APPLICATIONS=$(bash "$kit/fixtures/applications.sh")
WHARF_SOURCES=$(bash "$kit/fixtures/sources.sh")
export WHARF_CLIENTS WHARF_DOCKERD WHARF_PLUGINS WHARF_BUILDAH WHARF_APPLICATIONS WHARF_SOURCES
bash "$kit/src/world/enter.sh" "$name" \
    "$(cat "$kit/src/world/mounts.sh"; echo 'exec python3 "$@"')" \
    "$root/benches/bench.py" "$bin" "$fixtures" "$work" "$@"
