# Podman with the shim as its runtime: a container's life through conmon. $1: the shim; $2: a folder; $3: a rootfs.
# In mount and pid namespaces of its own.
set -eu
shim=$1 dir=$2 rootfs=$3
mount -t tmpfs tmpfs /run
cat >"$dir/storage.conf" <<END
[storage]
driver = "vfs"
runroot = "$dir/run"
graphroot = "$dir/root"
END
export CONTAINERS_STORAGE_CONF="$dir/storage.conf"
podman() {
    command podman --root "$dir/root" --runroot "$dir/run" --storage-driver vfs --cgroup-manager cgroupfs \
        --events-backend none --tmpdir "$dir/tmp" --runtime "$shim" "$@"
}
# Without the right to raise limits Podman's own defaults are refused by every runtime.
limits="--ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none"
tar -C "$rootfs" -c . | podman import - busy >/dev/null 2>&1
podman run --rm $limits busy sh -c 'echo run; exit 4' || echo "code $?"
podman run --rm -t $limits busy sh -c 'tty >/dev/null && echo terminal'
podman run --rm --read-only --user 5:6 --cap-drop all --hostname name $limits busy sh -c 'hostname; id -u; touch /x || echo readonly' 2>/dev/null
podman run -d --name one $limits busy sleep 1000 >/dev/null
podman exec one sh -c 'echo exec; exit 3' || echo "code $?"
podman exec -t one tty
podman exec nope true 2>/dev/null || echo "none"
podman exec one nope 2>/dev/null || echo "code $?"
podman pause one >/dev/null
podman ps -a --format '{{.Names}} {{.Status}}'
podman unpause one >/dev/null
podman update --help >/dev/null 2>&1 || true
podman top one comm | tail -n 1
podman kill one >/dev/null
podman wait one
podman rm one >/dev/null
podman create --name two $limits busy sh -c 'echo started; exit 9' >/dev/null
podman start -a two || echo "code $?"
podman rm -f two >/dev/null
podman ps -aq
