# Run with the world's name, the script of its first process and that one's arguments. Makes a cgroup of that name below our own one in each hierarchy, enters it, and
# goes on in new namespaces: what the new cgroup namespace shows as its root is that cgroup.
set -e
name=$1
inside=$2
shift 2
for hierarchy in /sys/fs/cgroup/*/; do
    key=$(basename "$hierarchy")
    own=$(awk -F: -v key="$key" '
        $2 == key || $2 == "name=" key || ($2 == "" && key == "unified") { print $3; exit }' /proc/self/cgroup)
    if [ -n "$own" ] && [ -e "$hierarchy/cgroup.procs" ]; then
        cgroup=$hierarchy$own/$name
        mkdir -p "$cgroup"
        if [ "$key" = cpuset ]; then
            cat "$hierarchy$own/cpuset.cpus" > "$cgroup/cpuset.cpus"
            cat "$hierarchy$own/cpuset.mems" > "$cgroup/cpuset.mems"
        fi
        echo $$ > "$cgroup/cgroup.procs"
    fi
done
# A host with cgroup v2 alone: one hierarchy, and controllers are handed down from a cgroup without processes.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    mkdir -p "/sys/fs/cgroup$own/$name"
    echo $$ > "/sys/fs/cgroup$own/$name/cgroup.procs"
fi
exec unshare --mount --net --cgroup --pid --ipc --uts --fork --kill-child bash -c "$inside" world "$@"
