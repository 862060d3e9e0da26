#!/bin/sh
# Replay the Dockerfile in clean Debian roots, where there is no container engine: as root, docker/replay.sh ROOT
# ROOT/build and ROOT/final become its two stages; then the non-root user tries what is installed.
# From the environment: MIRROR (of Debian), PIP_INDEX_URL and PIP_CERT as pip knows them, PIP_CACHE_DIR (a folder, to be
# written to as well) in which pip keeps PETSc's wheels.
set -eu
src=$(cd "$(dirname "$0")/.." && pwd)
MIRROR=${MIRROR:-https://deb.debian.org/debian}

fail() {
    echo "replay.sh: $*" >&2
    exit 1
}

[ $# = 1 ] || fail "usage: replay.sh ROOT"
[ "$(id -u)" = 0 ] || fail "only root can make and enter a root: run it with sudo"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
[ ! -e "$1" ] || { [ -d "$1" ] && [ -z "$(ls -A "$1")" ]; } || fail "$1 exists and is not an empty folder"
mkdir -p "$1"
root=$(cd "$1" && pwd)

unmount() {
    for stage in build final; do
        for at in root/.cache/pip dev/shm dev/pts sys proc; do
            ! mountpoint -q "$root/$stage/$at" || umount "$root/$stage/$at"
        done
    done
}
trap unmount EXIT
trap 'exit 130' INT TERM

bare() { # STAGE
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root/$1" "$MIRROR"
    mount -t proc proc "$root/$1/proc"
    mount -t sysfs -o ro sysfs "$root/$1/sys"
    mount -t devpts devpts "$root/$1/dev/pts"
    mount -t tmpfs -o size=64m,mode=1777 shm "$root/$1/dev/shm" # as large as Docker makes it
}

inside() { # STAGE USER COMMAND...: with the image's environment alone
    stage=$1 user=$2 home=/tmp
    shift 2
    [ "$user" != root ] || home=/root
    env -i PATH=/opt/lammps-implicit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        HOME="$home" ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} ${PIP_CERT:+PIP_CERT=/etc/pip-cert.pem} \
        chroot --userspec="$user" "$root/$stage" "$@"
}

echo "== build"
bare build
mkdir "$root/build/src"
for name in LICENSE Makefile README.md docker install lammps_implicit lammps_scripts pyproject.toml; do
    cp -R "$src/$name" "$root/build/src/"
done
[ -z "${PIP_CERT:-}" ] || cp "$PIP_CERT" "$root/build/etc/pip-cert.pem"
if [ -n "${PIP_CACHE_DIR:-}" ]; then
    mkdir -p "$PIP_CACHE_DIR" "$root/build/root/.cache/pip"
    mount --bind "$PIP_CACHE_DIR" "$root/build/root/.cache/pip"
fi
inside build root /src/docker/build.sh

echo "== final"
bare final
cp "$src/docker/runtime.sh" "$root/final/opt/"
inside final root /opt/runtime.sh
rm "$root/final/opt/runtime.sh"
cp -a "$root/build/opt/lammps-implicit" "$root/final/opt/"

echo "== try"
for tool in cc gcc make; do
    ! inside final lammps sh -c "command -v $tool" || fail "the final root has $tool"
done
[ "$(inside final lammps id -u)" != 0 ] || fail "the user is root"
inside final lammps lammps-implicit doctor
inside final lammps mpirun -n 2 lammps-implicit doctor
cp "$src/lammps_scripts/in.ta_vacancy" "$root/final/data/"
inside final lammps sh -c \
    'cd /data && mpirun -n 2 lammps-implicit sensitivity in.ta_vacancy --var n=3 --tol 1e-3 -o ta.h5'
for folder in "$root/final" "$root/final/opt/lammps-implicit"; do
    du -shx "$folder"
done
