"""Several processes at work on one structure, none of which holds all of it."""

from lammps_implicit.mpi.deal import deal
from lammps_implicit.mpi.hashing import home_ranks, splitmix64
from lammps_implicit.mpi.id_order import PIECE, IdOrder
from lammps_implicit.mpi.on_root import on_root, opened_on_root
from lammps_implicit.mpi.ownership import exchange, fetch, first_row, global_rows
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.mpi.shutdown import all_arrive, end_all_on_exceptions, end_together

__all__ = [
    "PIECE",
    "IdOrder",
    "all_arrive",
    "deal",
    "end_all_on_exceptions",
    "end_together",
    "exchange",
    "fetch",
    "first_row",
    "global_rows",
    "home_ranks",
    "on_root",
    "opened_on_root",
    "rank",
    "splitmix64",
]
