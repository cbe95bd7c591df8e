#!/bin/bash
# worlds.sh FOLDER-OF-DOCKERD FOLDER-OF-WHARF COMMAND...
#
# Starts a dockerd and a wharf, each in a world of its own (crates/wharf-testkit/src/world) with a registry at 127.0.0.1:5000
# and the image `busybox`, runs COMMAND with both sockets behind it, and ends all. As root; nothing of the machine is touched.
set -eu
kit=$(cd "$(dirname "$0")/../../crates/wharf-testkit" && pwd)
fixtures=$(bash "$kit/fixtures/build.sh")
dockerd=$(realpath "$1") wharf=$(realpath "$2")
shift 2
work=$(mktemp -d)
started=
cleanup() {
    for pid in $started; do kill -9 $(ps -o pid= --ppid "$pid") "$pid" 2> /dev/null || true; done
    rm -rf "$work" 2> /dev/null || true
}
trap cleanup EXIT

# begin NAME FOLDER PROGRAM...
begin() {
    local at=$work/$1 folder=$2
    shift 2
    mkdir "$at"
    cp -r "$fixtures/registry" "$at/registry"
    echo '{}' > "$at/daemon.json"
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "%s"}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:5000"}\n' \
        "$at/registry" > "$at/registry.yml"
    local inside
    inside="$(cat "$kit/src/world/mounts.sh")
docker-registry serve $at/registry.yml > $at/registry.log 2>&1 &
PATH=$folder:\$PATH $* -H unix://$at/engine.sock --data-root $at/data --exec-root $at/exec --pidfile $at/pid --config-file $at/daemon.json > $at/log 2>&1"
    bash -c "$(cat "$kit/src/world/enter.sh")" enter "differ-$$-$(basename "$at")" "$inside" < /dev/null > "$at/world.log" 2>&1 &
    started="$started $!"
    until curl -sf --unix-socket "$at/engine.sock" http://d/_ping > /dev/null 2>&1; do
        kill -0 $! || { cat "$at/log"; exit 1; }
    done
    DOCKER_HOST=unix://$at/engine.sock docker load -q -i "$fixtures/busybox.tar" > /dev/null
}
begin d26 "$dockerd" dockerd
begin w "$wharf" wharf daemon
"$@" "$work/d26/engine.sock" "$work/w/engine.sock"
