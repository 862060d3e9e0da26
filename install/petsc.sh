#!/bin/sh
# Build PETSc and SLEPc with petsc4py and slepc4py from PyPI against the MPI of a virtual environment: petsc.sh VENV
# Once: pip keeps the wheels. About 15 minutes on two cores, 3 of them for SLEPc.
set -eu
here=$(dirname "$0")
venv=$(cd "$1" && pwd)
version=3.26.1
"$here/system_packages.sh" \
    "gcc=command -v cc" \
    "libc6-dev=echo '#include <stdlib.h>' | cc -E -" \
    "python3-dev=$venv/bin/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path(\"include\"), \"Python.h\").open()'" \
    "liblapack-dev=echo 'int main(void){return 0;}' | cc -x c - -o /dev/null -llapack -lblas" \
    "patchelf=command -v patchelf"
echo "building PETSc and SLEPc $version with petsc4py and slepc4py for $venv: about 15 minutes the first time"
PATH="$venv/bin:$PATH"
export PATH
unset PETSC_DIR PETSC_ARCH
# C alone suffices: no Fortran, no C++, no X. Reference BLAS has no threads that would fight the MPI ranks.
export PETSC_CONFIGURE_OPTIONS="--with-fc=0 --with-cxx=0 --with-x=0 --with-debugging=0 --COPTFLAGS=-O2"
log="$venv/petsc-build.log"
packages=$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
install() {
    if ! python -m pip install "$@" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "$1 did not build: the whole log is $log" >&2
        exit 1
    fi
}
# build PACKAGE LIBRARY: pip may have kept a wheel that was made where there was no MPI; it is made anew then.
build() {
    install "$1==$version"
    if ! patchelf --print-needed "$packages/"$2 | grep -q '^libmpi'; then
        install "$1==$version" --no-cache-dir --force-reinstall --no-deps
    fi
}
: >"$log"
build petsc "petsc/lib/libpetsc.so.*"
PETSC_DIR=$packages/petsc
export PETSC_DIR
build petsc4py "petsc4py/lib/PETSc.*.so"
# Wheels that pip kept look for libraries in the environment they were built in: send them to this one.
patchelf --set-rpath '$ORIGIN/../../../..' "$packages"/petsc/lib/libpetsc.so.*
patchelf --set-rpath '$ORIGIN/../../petsc/lib:$ORIGIN/../../../..' "$packages"/petsc4py/lib/PETSc.*.so
build slepc "slepc/lib/libslepc.so.*"
SLEPC_DIR=$packages/slepc
export SLEPC_DIR
# One large file of generated C: with the usual flags, -O3 -g, compiling it takes 7 GB and ten minutes.
export CFLAGS="-O1 -g0"
install "slepc4py==$version"
patchelf --set-rpath '$ORIGIN/../../petsc/lib:$ORIGIN/../../../..' "$packages"/slepc/lib/libslepc.so.*
patchelf --set-rpath '$ORIGIN/../../slepc/lib:$ORIGIN/../../petsc/lib:$ORIGIN/../../../..' "$packages"/slepc4py/lib/SLEPc.*.so
python -c 'from mpi4py import MPI; from petsc4py import PETSc; print("petsc4py", *PETSc.Sys.getVersion())'
python -c 'from mpi4py import MPI; from slepc4py import SLEPc; print("slepc4py", *SLEPc.Sys.getVersion())'
