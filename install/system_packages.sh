#!/bin/sh
# Make sure that what the given checks look for is installed: system_packages.sh PACKAGE=CHECK ...
# A CHECK is a command that succeeds when the Debian PACKAGE (or its like elsewhere) is there. Root on a Debian system
# gets what is missing installed; anyone else is told the exact command.
set -eu
missing=""
for pair in "$@"; do
    package=${pair%%=*}
    check=${pair#*=}
    sh -c "$check" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
command="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing system packages:$missing"
    DEBIAN_FRONTEND=noninteractive sh -c "$command" >/dev/null
else
    echo "missing system packages:$missing" >&2
    echo "as root on Debian or Ubuntu: $command" >&2
    echo "elsewhere: install their equivalents, then run make again" >&2
    exit 1
fi
