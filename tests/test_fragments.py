"""Atoms and groups of atoms that nothing holds: the rest has its derivatives, and they have those of their shape."""

import numpy as np
import pytest
from conftest import TA_VACANCY
from mpi4py import MPI

from lammps_implicit import Minimum

SETUP = TA_VACANCY.split("minimize")[0].replace(
    "block 0 3 0 3 0 3", "block 0 3 0 3 0 9\nregion film block 0 3 0 3 0 2.9"
)
SLAB = SETUP.replace("create_atoms    1 box", "create_atoms 1 region film{more}") + "minimize 0 1e-9 2000 20000\n"
TRIMER = "\ncreate_atoms 1 single 1 1 6\ncreate_atoms 1 single 1.6 1.6 6.5\ncreate_atoms 1 single 1.7 0.9 6.6"
FRAGMENTS = {"atom": "\ncreate_atoms 1 single 1 1 6", "trimer": TRIMER}


def _moved(path, dtheta, method):
    with Minimum.from_deck(path, ftol=1e-9, force_limit=1e9) as minimum:
        change = dtheta * minimum.potential.theta
        found = minimum.jacobian(1e-6, method).dot(change) if method != "jvp" else minimum.jvp(change, 1e-8)
        brute = [minimum.relaxed_at(sign * change, 1e-9)[0] for sign in (1, -1)]
        return minimum.ids.copy(), found, (brute[0] - brute[1]) / 2


@pytest.mark.parametrize("method", ["jvp", "iterative", "dense"])
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_a_film_beside_a_fragment_moves_as_alone(write_deck, fragment, method):
    dtheta = 1e-4
    ids, found, brute = _moved(write_deck(SLAB.format(more=FRAGMENTS[fragment])), dtheta, method)
    film = ids <= 54  # 54 sites, of which one is vacant; the fragment has the last ids
    assert np.abs(found[film]).max() > 1e-5
    centred = lambda moved: moved - moved.mean(axis=0)  # noqa: E731
    size = np.linalg.norm(centred(brute[film]))
    assert np.linalg.norm(centred(found[film]) - centred(brute[film])) < 1e-3 * size
    if fragment == "atom":
        assert np.abs(found[~film]).max() < 1e-9
    else:  # its shape changes as it does when relaxing, which may also move it
        shape = centred(brute[~film])
        assert np.linalg.norm(centred(found[~film]) - shape) < 0.02 * np.linalg.norm(shape)


@pytest.mark.parallel(nprocs=[2])
def test_fragments_on_two_ranks(tmp_path_factory):
    comm = MPI.COMM_WORLD
    path = tmp_path_factory.mktemp("fragments") / "in.film" if comm.rank == 0 else None
    path = comm.bcast(path)
    if comm.rank == 0:
        path.write_text(SLAB.format(more=TRIMER))
    comm.barrier()
    norms = []
    for among in (comm, MPI.COMM_SELF):
        with Minimum.from_deck(path, among, ftol=1e-9, force_limit=1e9) as minimum:
            norms.append(minimum.engine.norm(minimum.jvp(1e-3 * minimum.potential.theta, 1e-7)))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
