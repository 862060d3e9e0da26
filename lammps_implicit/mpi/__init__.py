"""Several processes working on one structure, none of which ever holds all of it.

Per-atom arrays are distributed as LAMMPS distributes its atoms, and atoms are identified by id. `ownership` looks up
values and rows by id, through the hashes of `hashing`; `id_order` streams arrays in id order to rank 0; `deal`
distributes rows read there; `on_root` runs a task on rank 0 for all. `shutdown` ends all ranks together after an error,
`libraries` checks that all parts use the same MPI library, `ranks` gives this rank's number.

Functions named like their file (`deal`, `on_root`) are imported from there.
"""

from lammps_implicit.mpi.hashing import home_ranks, splitmix64
from lammps_implicit.mpi.id_order import PIECE, IdOrder
from lammps_implicit.mpi.libraries import loaded_mpi_libraries, require_one_mpi
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.mpi.ownership import exchange, fetch, first_row, global_rows
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.mpi.shutdown import all_arrive, end_all_on_exceptions, end_together

__all__ = [
    "PIECE",
    "IdOrder",
    "all_arrive",
    "end_all_on_exceptions",
    "end_together",
    "exchange",
    "fetch",
    "first_row",
    "global_rows",
    "home_ranks",
    "loaded_mpi_libraries",
    "opened_on_root",
    "rank",
    "require_one_mpi",
    "splitmix64",
]
