#!/bin/sh
# First stage, as root in a bare Debian: the package, PETSc and all they need into /opt/lammps-implicit.
set -eu
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends ca-certificates make python3
export PIP_CONSTRAINT="$PWD/docker/constraints.txt"
make install VENV=/opt/lammps-implicit EDITABLE=
