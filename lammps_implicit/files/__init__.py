"""Files: written whole or not at all, never over an input, and read only if they are whole."""

from lammps_implicit.files.hdf5 import group_name, hdf5_opened, hdf5_written_whole
from lammps_implicit.files.inputs import forget_inputs, named_files, protect_inputs, refuse_inputs
from lammps_implicit.files.locks import locked
from lammps_implicit.files.outputs import (
    beside,
    label,
    make_folder,
    refuse_folder,
    refuse_to_overwrite,
    sha256,
    write_figure,
    written_whole,
)
from lammps_implicit.files.schema import FORMAT_VERSION, Field, Schema, flags, integers, labels, numbers, texts
from lammps_implicit.files.temporary import (
    forget_temporary,
    in_temporary_folder,
    remember_temporary,
    remove_temporary,
    temporary_folder,
)

__all__ = [
    "FORMAT_VERSION",
    "Field",
    "Schema",
    "beside",
    "flags",
    "forget_inputs",
    "forget_temporary",
    "group_name",
    "hdf5_opened",
    "hdf5_written_whole",
    "in_temporary_folder",
    "integers",
    "label",
    "labels",
    "locked",
    "make_folder",
    "named_files",
    "numbers",
    "protect_inputs",
    "refuse_folder",
    "refuse_inputs",
    "refuse_to_overwrite",
    "remember_temporary",
    "remove_temporary",
    "sha256",
    "temporary_folder",
    "texts",
    "write_figure",
    "written_whole",
]
