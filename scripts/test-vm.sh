#!/bin/bash
# `make test-vm`: what must be tested on a machine unlike most test machines: systemd, pure cgroup v2, AppArmor, Debian's
# kernel. A bounded selection, as the machine is emulated: the tests of the cgroups crate, the systemd cgroup driver
# (test-vm-systemd.sh) and the conformance scenarios named below, run inside of `in-vm` with programs built outside.
#
#   scripts/test-vm.sh BIN [TEXT...]     BIN: folder with wharf and wharf-shim; TEXT: scenarios instead of the usual ones
#   IN_VM=/path/to/in-vm                 default ../shared/vm/in-vm
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "$1" && pwd)
shift
in_vm=${IN_VM:-$root/../shared/vm/in-vm}
[ -x "$in_vm" ] || in_vm=/work/shared/vm/in-vm
if [ ! -x "$in_vm" ]; then
    echo "test-vm: no in-vm at $in_vm (set IN_VM): skipped" >&2
    exit 0
fi
for program in qemu-system-x86_64 mmdebstrap; do
    command -v "$program" > /dev/null ||
        apt-get install --yes --quiet --no-install-recommends qemu-system-x86 mmdebstrap > /dev/null
done
scenarios=("$@")
[ ${#scenarios[@]} -gt 0 ] || scenarios=(
    run::prints_output run::exit_codes run::limits_reach run::stdin_is run::tmpfs
    containers::exec_runs containers::create_start resources:: limits:: apparmor:: safety:: life::
    commit::many_layers mounts::fresh_volumes userns::ids_are
    network::published network::bridge quotas:: firewalls::a_full_table lan::ipvlan sctp::
)
target=${CARGO_TARGET_DIR:-$root/target}
cargo build --quiet --package wharf-conformance
group=$(cargo test --quiet --package wharf-cgroups --test group --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
# The guest's disk is slow to reach and the programs are large: without debugging symbols, and copied once.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for file in "$bin/wharf" "$bin/wharf-shim" "$target/debug/wharf-conformance" "$group" "$(command -v docker)"; do
    name=$(basename "$file")
    [ "$file" != "$group" ] || name=group-tests
    strip -o "$stage/$name" "$file" 2> /dev/null || cp "$file" "$stage/$name"
done
cp "$(bash "$root/crates/wharf-testkit/fixtures/build.sh")/busybox.tar" "$stage/"
cp "$root/scripts/test-vm-inside.sh" "$root/scripts/test-vm-systemd.sh" "$stage/"
"$in_vm" --share "$stage" --share "$root" --timeout "${TEST_VM_TIMEOUT:-1500}" \
    --env WHARF_TEST_LOG="${WHARF_TEST_LOG:-}" --env WHARF_TEST_OWN_MACHINE=1 -- \
    bash "$stage/test-vm-inside.sh" "$stage" "${scenarios[@]}"
