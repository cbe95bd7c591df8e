# Inside of the machine of test-vm.sh, in its own namespaces: the systemd cgroup driver, of the daemon and of the shim's command
# line. The worlds of the conformance suite have no systemd.
#
#   test-vm-systemd.sh     with wharf, wharf-shim and docker in PATH, and busybox.tar in WHARF_FIXTURES
set -eu
top=/sys/fs/cgroup
work=$(mktemp -d /var/wharf/systemd.XXXXXX)
export DOCKER_HOST=unix://$work/docker.sock
daemon=
fail() {
    echo "FAIL systemd: $*"
    tail -n 20 "$work/log" || true
    exit 1
}
is() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }
shown() { systemctl show --value --property "$2" "$1"; }
# Waits for a condition, for a minute at most.
until_so() {
    for _ in $(seq 600); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    fail "it does not come to hold: $*"
}
end() {
    [ -z "$daemon" ] || kill "$daemon" 2> /dev/null || true
}
trap end EXIT
start() {
    wharf daemon --data-root "$work/data" --exec-root "$work/run" --pidfile "$work/pid" --host "$DOCKER_HOST" \
        "$@" >> "$work/log" 2>&1 &
    daemon=$!
    until_so docker version > /dev/null 2>&1
}

start
docker load --quiet --input "$WHARF_FIXTURES/busybox.tar" > /dev/null
is "the default driver" "$(docker info --format '{{.CgroupDriver}} {{.CgroupVersion}}')" "systemd 2"

# A scope with what was asked for, in the slice that was asked for.
id=$(docker run --detach --name c1 --cgroup-parent wharf-test.slice --memory 64m --memory-swap 64m --cpus 0.5 --cpu-shares 2048 \
    --pids-limit 50 --cpuset-cpus 0 busybox sleep 1000)
unit=docker-$id.scope
group=$(shown "$unit" ControlGroup)
is "its group" "$group" "/wharf.slice/wharf-test.slice/$unit"
is "its process" "$(cat $top"$group"/cgroup.procs)" "$(docker inspect --format '{{.State.Pid}}' c1)"
for pair in Delegate=yes MemoryMax=67108864 MemorySwapMax=0 TasksMax=50 CPUQuotaPerSecUSec=500ms AllowedCPUs=0 \
    DevicePolicy=strict ActiveState=active "Description=libcontainer container $id"; do
    is "${pair%%=*}" "$(shown "$unit" "${pair%%=*}")" "${pair#*=}"
done
is memory.max "$(cat $top"$group"/memory.max)" 67108864
is pids.max "$(cat $top"$group"/pids.max)" 50
docker exec c1 sh -c 'echo x > /dev/null && head -c 1 /dev/zero > /dev/null' || fail "devices"
docker exec c1 sh -c 'cat /proc/self/cgroup' | grep -q '^0::/$' || fail "exec is in the group"

# A container that has divided its group, as systemd in one does: an exec goes where its first process is.
privileged=$(docker run --detach --name c2 --privileged busybox sh -c 'mkdir /sys/fs/cgroup/init &&
    echo 1 > /sys/fs/cgroup/init/cgroup.procs && echo +pids > /sys/fs/cgroup/cgroup.subtree_control && exec sleep 1000')
until_so grep -q pids "$top$(shown "docker-$privileged.scope" ControlGroup)/cgroup.subtree_control"
is "exec beside divided groups" "$(docker exec c2 cat /proc/self/cgroup)" "0::/init"
docker rm --force c2 > /dev/null

# The options of the one hierarchy are the host's, whoever mounts it where.
options() { grep " $top cgroup2 " /proc/self/mounts | cut -d ' ' -f 4; }
before=$(options)
docker run --rm --cgroupns host busybox grep -q ' /sys/fs/cgroup cgroup2 ' /proc/self/mounts || fail "the host's hierarchy"
is "the hierarchy's options" "$(options)" "$before"

# systemd knows of changes, and keeps them over a reload.
docker update --memory 96m --memory-swap 128m --pids-limit 60 --cpus 0.25 c1 > /dev/null
systemctl daemon-reload
is "MemoryMax after update" "$(shown "$unit" MemoryMax)" 100663296
is "memory.max after update" "$(cat $top"$group"/memory.max)" 100663296
is "memory.swap.max after update" "$(cat $top"$group"/memory.swap.max)" 33554432
is "pids.max after update" "$(cat $top"$group"/pids.max)" 60
is "cpu.max after update" "$(cat $top"$group"/cpu.max)" "25000 100000"
[ "$(docker stats --no-stream --format '{{.PIDs}}' c1)" = 1 ] || fail "stats"
docker pause c1 > /dev/null
is "its state" "$(docker inspect --format '{{.State.Status}}' c1)" paused
docker unpause c1 > /dev/null

# The daemon dies and comes back, with the other driver as well.
kill -KILL $daemon
start --exec-opt native.cgroupdriver=cgroupfs
is "the other driver" "$(docker info --format '{{.CgroupDriver}}')" cgroupfs
docker update --pids-limit 70 c1 > /dev/null
is "pids.max by another daemon" "$(cat $top"$group"/pids.max)" 70
docker restart --time 0 c1 > /dev/null
[ -d $top/wharf-test.slice/"$id" ] || fail "it has moved to a folder"
until_so test ! -e $top"$group"
docker rm --force c1 > /dev/null
kill $daemon
wait $daemon || true
start

# Again and again by one name, and nothing is left, not even of what has failed.
docker create --name c2 busybox sh -c 'exit 3' > /dev/null
for _ in 1 2 3; do
    docker start --attach c2 && fail "it has ended with 0"
done
docker run --detach --name c3 --memory 8m busybox sh -c 'head -c 100m /dev/zero | tail' > /dev/null
docker wait c3 > /dev/null
docker rm c2 c3 > /dev/null
none_left() { [ -z "$(systemctl list-units --all --plain --no-legend 'docker-*.scope' 'runc-*.scope')" ]; }
until_so none_left
docker create --cgroup-parent /folder busybox true > "$work/out" 2>&1 && fail "a parent that is no slice"
grep -q 'should be a valid slice named as' "$work/out" || fail "$(cat "$work/out")"

# The command line, as runc's.
bundle=$work/bundle
mkdir -p "$bundle/rootfs"
docker create --name c4 busybox true > /dev/null
docker export c4 | tar -x -C "$bundle/rootfs"
docker rm c4 > /dev/null
(cd "$bundle" && wharf-shim spec)
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000"/; s/"linux": {/"annotations": {"org.systemd.property.TimeoutStopSec": "7"},\n"linux": {/' \
    "$bundle/config.json"
shim() { wharf-shim --root "$work/shim" --systemd-cgroup "$@"; }
shim run --detach --bundle "$bundle" s1 < /dev/null > /dev/null 2> "$work/shim.log" || fail "$(cat "$work/shim.log")"
is "its unit" "$(shown runc-s1.scope ControlGroup)" /system.slice/runc-s1.scope
is "its annotation" "$(shown runc-s1.scope TimeoutStopUSec)" 7s
printf '{"memory":{"limit":33554432},"pids":{"limit":9}}' | shim update --resources - s1
is "MemoryMax by update" "$(shown runc-s1.scope MemoryMax)" 33554432
is "pids.max by update" "$(cat $top/system.slice/runc-s1.scope/pids.max)" 9
if shim update --pids-limit 8 --cpuset-cpus 9999 s1 2> /dev/null; then fail "no such processor"; fi
is "pids.max after a change that failed" "$(cat $top/system.slice/runc-s1.scope/pids.max)" 9
is "TasksMax after a change that failed" "$(shown runc-s1.scope TasksMax)" 9
shim exec s1 true || fail "exec"
shim delete --force s1
until_so none_left
echo "PASS systemd"
