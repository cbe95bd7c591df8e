#!/bin/bash
# Installs what the tests and lints need and is not there: Debian packages (no service of theirs is started),
# cargo-nextest, cargo-deny and typos. Run as root; quick when there is nothing to do.
set -euo pipefail

packages=(
    busybox-static debootstrap docker-registry docker.io iproute2 iptables nftables procps python3 runc crun
    skopeo util-linux podman conmon
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
done
# The SDKs of other languages are installed with these.
command -v npm > /dev/null || missing+=(nodejs npm)
python3 -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    # The packages' services must not start: the tests run their own, in their own namespaces.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${missing[@]}" > /tmp/wharf-apt.log 2>&1 || {
        tail -n 20 /tmp/wharf-apt.log >&2
        exit 1
    }
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wharf
tool() { # binary, then how to install it
    command -v "$1" > /dev/null && return
    echo "installing $1"
    local log=/tmp/wharf-$1.log
    "${@:2}" > "$log" 2>&1 || {
        tail -n 20 "$log" >&2
        exit 1
    }
}
# Not optimised: they are built for longer than they run.
export CARGO_TARGET_DIR=$cache/tools CARGO_PROFILE_DEV_DEBUG=0
tool cargo-nextest cargo install --locked --debug --no-default-features --features default-no-update cargo-nextest
tool cargo-deny cargo install --locked --debug cargo-deny
# Debian's python refuses pip outside of a virtual environment.
if ! command -v typos > /dev/null && [ ! -x "$cache/typos/bin/typos" ]; then
    tool typos sh -c "python3 -m venv '$cache/typos' && '$cache/typos/bin/pip' install -q typos" ||
        tool typos cargo install --locked --debug typos-cli
fi
# What they were made in is of no more use, and large.
rm -rf "$cache/tools"
