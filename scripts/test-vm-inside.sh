# Inside of the machine: see test-vm.sh.
set -u
stage=$1
shift
export WHARF_FIXTURES=/var/wharf/fixtures WHARF_BIN_DIR=/var/wharf/bin TMPDIR=/var/wharf/tmp PATH=/var/wharf/bin:$PATH
mkdir -p /var/wharf/fixtures /var/wharf/bin /var/wharf/tmp
cp "$stage"/* /var/wharf/bin/
mv /var/wharf/bin/busybox.tar /var/wharf/fixtures/
touch /var/wharf/fixtures/complete-3
[ -n "${WHARF_TEST_LOG:-}" ] || unset WHARF_TEST_LOG
# From the top of the hierarchy, where controllers can be handed down.
echo $$ > /sys/fs/cgroup/cgroup.procs
echo "test-vm: $(uname -r), $(stat -f -c %T /sys/fs/cgroup), AppArmor: $(cat /sys/module/apparmor/parameters/enabled)"
failed=0
group-tests --test-threads 1 || failed=1
bash "$(dirname "$0")/test-vm-systemd.sh" || failed=1
for scenario in "$@"; do
    wharf-conformance --engine wharf --client docker --only "$scenario" > /var/wharf/out 2>&1
    cut -c1-3000 /var/wharf/out
    if grep -q '^FAIL' /var/wharf/out || ! grep -q ' 0 failed, ' /var/wharf/out; then
        failed=1
    fi
done
exit $failed
