#!/bin/sh
# Build PETSc and petsc4py from PyPI against the MPI of a virtual environment: petsc.sh VENV
# Once: pip keeps the wheels. About 12 minutes on two cores.
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
echo "building PETSc $version and petsc4py for $venv: about 12 minutes the first time"
PATH="$venv/bin:$PATH"
export PATH
unset PETSC_DIR PETSC_ARCH
# C alone suffices: no Fortran, no C++, no X. Reference BLAS has no threads that would fight the MPI ranks.
export PETSC_CONFIGURE_OPTIONS="--with-fc=0 --with-cxx=0 --with-x=0 --with-debugging=0 --COPTFLAGS=-O2"
log="$venv/petsc-build.log"
if ! python -m pip install "petsc==$version" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "PETSc did not build: the whole log is $log" >&2
    exit 1
fi
PETSC_DIR=$(python -c 'import petsc; print(petsc.get_petsc_dir())')
export PETSC_DIR
if ! python -m pip install "petsc4py==$version" >>"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "petsc4py did not build: the whole log is $log" >&2
    exit 1
fi
# Wheels that pip kept look for libraries in the environment they were built in: send them to this one.
patchelf --set-rpath '$ORIGIN/../../../..' "$PETSC_DIR"/lib/libpetsc.so.*
patchelf --set-rpath '$ORIGIN/../../petsc/lib:$ORIGIN/../../../..' "$PETSC_DIR"/../petsc4py/lib/PETSc.*.so
python -c 'from mpi4py import MPI; from petsc4py import PETSc; print("petsc4py", *PETSc.Sys.getVersion())'
