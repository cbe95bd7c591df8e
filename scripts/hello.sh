#!/bin/bash
# `make hello`: a daemon in a world of its own, hello-world from its catalogue, a shell command in a real Debian
# image from a registry on loopback. Nothing is left behind.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kit=$root/crates/wharf-testkit
bin=$(cd "$1" && pwd)
work=$(mktemp -d)
name=wharf-hello-$$
cleanup() {
    for hierarchy in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
        find "$hierarchy" -depth -type d -path "*/$name*" -exec rmdir {} \; 2> /dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
fixtures=$(bash "$kit/fixtures/build.sh")
bash "$kit/src/world/enter.sh" "$name" "$(cat "$kit/src/world/mounts.sh" "$root/scripts/hello-inside.sh")" \
    "$bin" "$fixtures" "$work"
