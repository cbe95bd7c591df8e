#!/bin/bash
# Installs what a package of Wharf has. Usage: scripts/install.sh FOLDER-WITH-PROGRAMS [ROOT]
# Below ROOT, if one is named: PREFIX (/usr) with programs, completions and manual pages, systemd's units, and the group of the socket.
# Starts and enables nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")/../packaging" && pwd)
programs=$1 root=${2:-} prefix=${PREFIX:-/usr}
put() { install -D -m "$1" "$2" "$root$3"; }

put 0755 "$programs/wharf" "$prefix/bin/wharf"
# The daemon looks for it beside itself.
put 0755 "$programs/wharf-shim" "$prefix/bin/wharf-shim"
put 0644 "$here/man/wharf.1" "$prefix/share/man/man1/wharf.1"
put 0644 "$here/man/wharf-shim.8" "$prefix/share/man/man8/wharf-shim.8"
put 0644 "$here/systemd/wharf.service" "$prefix/lib/systemd/system/wharf.service"
put 0644 "$here/systemd/wharf.socket" "$prefix/lib/systemd/system/wharf.socket"
put 0644 "$here/systemd/wharf.sysusers" "$prefix/lib/sysusers.d/wharf.conf"
sed -i "s|/usr/bin/wharf|$prefix/bin/wharf|" "$root$prefix/lib/systemd/system/wharf.service"
completion() { "$programs/wharf" completion "$1" | install -D -m 0644 /dev/stdin "$root$prefix/share/$2"; }
completion bash bash-completion/completions/wharf
completion zsh zsh/vendor-completions/_wharf
completion fish fish/vendor_completions.d/wharf.fish
# The group of the socket is there before systemd makes it.
if [ -z "$root" ] && command -v systemd-sysusers > /dev/null; then
    systemd-sysusers "$prefix/lib/sysusers.d/wharf.conf"
fi
