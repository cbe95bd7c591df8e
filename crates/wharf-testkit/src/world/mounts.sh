# What the first process of a world does first: it mounts what a machine has.
set -e
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    controllers=$(cd /sys/fs/cgroup && echo *)
    mount -t tmpfs -o mode=0755 cgroup /sys/fs/cgroup
    for controller in $controllers; do
        mkdir "/sys/fs/cgroup/$controller"
        case $controller in
        unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
        systemd) mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd ;;
        *) mount -t cgroup -o "$controller" "$controller" "/sys/fs/cgroup/$controller" ;;
        esac
    done
fi
