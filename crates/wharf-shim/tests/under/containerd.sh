# containerd with the shim in runc's place. $1: the shim; $2: a folder; $3: a rootfs.
# In mount and pid namespaces of its own.
set -eu
shim=$1 dir=$2 rootfs=$3
mount -t tmpfs tmpfs /run
cat >"$dir/containerd.toml" <<END
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$dir/containerd.sock"
END
containerd -c "$dir/containerd.toml" >"$dir/log" 2>&1 &
ctr() { command ctr -a "$dir/containerd.sock" "$@"; }
attempt=0
until ctr version >/dev/null 2>&1; do
    attempt=$((attempt + 1))
    [ $attempt -lt 300 ]
    sleep 0.1
done
ctr run --rm --runc-binary "$shim" --rootfs "$rootfs" one /bin/sh -c 'echo run; exit 5' || echo "code $?"
ctr run --rm --runc-binary "$shim" --rootfs "$rootfs" bad /bin/nope 2>&1 | grep -o 'runc create failed: unable to start container process: exec: "/bin/nope": stat /bin/nope: no such file or directory'
ctr run -d --runc-binary "$shim" --rootfs "$rootfs" two /bin/sleep 1000
ctr task exec --exec-id a two /bin/sh -c 'echo exec; exit 6' || echo "code $?"
state() { ctr task ls | awk 'NR > 1 { print $1, $3 }'; }
state
ctr task pause two
state
ctr task resume two
ctr task metrics two | grep -c memory.usage_in_bytes || true
ctr task kill -s 9 two
until [ "$(state)" = "two STOPPED" ]; do sleep 0.05; done
ctr task delete two >/dev/null 2>&1
ctr container rm two
ctr container ls -q
