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
# A host with cgroup v2 alone: one hierarchy, and controllers are handed down from a cgroup without processes. So the world
# lies below the nearest cgroup that hands all of them down, or the top; its processes live in a leaf of it.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    own=${own%/}
    while :; do
        for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" > "/sys/fs/cgroup$own/cgroup.subtree_control" 2> /dev/null || continue
        done
        missing=$(comm -23 <(tr ' ' '\n' < /sys/fs/cgroup/cgroup.controllers | sort) \
            <(tr ' ' '\n' < "/sys/fs/cgroup$own/cgroup.subtree_control" | sort))
        [ -n "$missing" ] && [ -n "$own" ] || break
        own=${own%/*}
    done
    cgroup=/sys/fs/cgroup$own/$name
    mkdir -p "$cgroup/world"
    echo $$ > "$cgroup/cgroup.procs"
    exec unshare --cgroup bash -c '
        echo $$ > "$1/world/cgroup.procs"
        inside=$2
        shift 2
        exec unshare --mount --net --pid --ipc --uts --fork --kill-child bash -c "$inside" world "$@"
    ' enter "$cgroup" "$inside" "$@"
fi
exec unshare --mount --net --cgroup --pid --ipc --uts --fork --kill-child bash -c "$inside" world "$@"
