#!/bin/sh
# Final stage, as root in a bare Debian: what /opt/lammps-implicit runs on, and a user with a folder to work in.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
# ibverbs and rdmacm: for MPI on clusters with InfiniBand.
apt-get install -y --no-install-recommends ibverbs-providers liblapack3 librdmacm1 libstdc++6 python3 zlib1g
rm -rf /var/lib/apt/lists/*
useradd --uid 1000 --home-dir /data --no-create-home lammps
install -d -o lammps -g lammps /data
