"""Decks as people write them: differentiated and compared with brute force in plain LAMMPS, or refused with a reason.

`decks/expected.yaml` says what each deck is and what comes of it; `docs/decks.md` is made of it.
"""

import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from plain_decks import DECKS, BruteForce

from lammps_implicit import LammpsImplicitError, Minimum

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
from decks_table import TABLE, read_expected, table

EXPECTED = read_expected()

REACH, LONGEST = 1e-5, 1e-3
"""Å, or units of length, that the atom which moves most is moved by changed parameters in brute force, at most by this
relative change: tables have kinks, and pairs cross cutoffs, within longer steps."""

WEIGHTS = np.array([1.0, -0.6, 0.7])
"""Of the parameters of a deck in the direction along which its derivative is taken: none of all of one sign."""


@dataclass
class Found:
    """What the package says: displacement and strain along a direction, in id order, and what they cost."""

    names: tuple
    theta: np.ndarray
    direction: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    displacement: np.ndarray
    strain: np.ndarray
    energy: float
    evaluations: int


def differentiate(deck, entry):
    """Run a deck with the package, in the folder it stands in, and differentiate along its parameters."""
    options = dict(entry.get("options", {}))
    cell = entry.get("cell", "none")
    if cell != "none":
        options |= {"cell": cell, "pressure": entry.get("pressure")}
    labels = list(entry.get("parameters", {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Minimum.from_deck(deck, parameters=labels or None, **options) as m:
            theta = m.potential.theta
            order = np.argsort(m.ids)
            if not labels:
                direction = np.zeros(len(theta))
                if entry["outcome"] == "refused":
                    m.jvp(theta if len(theta) else direction, tol=1e-5)
                nothing = np.zeros(0)
                return Found((), theta, direction, m.positions[order], m.engine.cell, nothing, nothing, m.energy, 0)
            names = tuple(m.potential.names)
            assert sorted(names) == sorted(labels)
            weights = dict(zip(labels, WEIGHTS[: len(labels)], strict=True))
            direction = theta * np.array([weights[name] for name in names])
            before = m.engine.evaluations.total
            moved = m.jvp(direction, **({"cell": m.freedom} if cell != "none" else {}))
            displacement, strain = (moved, np.zeros(0)) if cell == "none" else (moved.displacement, moved.strain)
            cost = m.engine.evaluations.total - before
            x, h = m.positions[order], m.engine.cell
            return Found(names, theta, direction, x, h, displacement[order], strain, m.energy, cost)


def compare(name, folder):
    """Relative error of the derivative of a deck, and its cost in evaluations."""
    entry = EXPECTED[name]
    shutil.copytree(DECKS, folder / "deck")
    found = differentiate(folder / "deck" / f"in.{name}", entry)
    brute = BruteForce(f"in.{name}", entry, folder)
    labels = list(entry["parameters"])
    in_order = [found.names.index(label) for label in labels]
    np.testing.assert_allclose(found.theta[in_order], brute.values(), rtol=1e-12)
    positions, _ = brute.reference(*starting(entry, found))
    away = nearest(positions - found.positions, brute)
    assert np.abs(brute.without_rigid_motions(away)).max() < 1e-3, "another minimum than that of plain LAMMPS"
    farthest = max(np.abs(found.displacement).max(), 0, *np.abs(found.strain) * np.linalg.norm(found.cell))
    step = entry.get("step", min(LONGEST, REACH / max(farthest, 1e-12)))
    displacement, strain = brute.along(found.direction[in_order], step)
    size = np.linalg.norm(displacement)
    assert max(size, *strain, 0) > 1e-6, "nothing moves: no test"
    assert brute.left < entry.get("left", 1e-6)
    off = np.linalg.norm(brute.without_rigid_motions(inhomogeneous(found, brute) - displacement))
    if not len(strain):
        return off / size, found.evaluations
    # Atoms of a crystal follow the cell and nothing else.
    reach = np.linalg.norm(brute.cell) * np.linalg.norm(strain)
    return max(
        off / max(size, reach), np.linalg.norm(found.strain - strain) / np.linalg.norm(strain)
    ), found.evaluations


def inhomogeneous(found, brute):
    """Displacements (N, 3) less what follows the cell."""
    strain = np.tensordot(found.strain, brute.basis, axes=1) if len(found.strain) else np.zeros((3, 3))
    return found.displacement - (found.positions - brute.low) @ strain.T


def starting(entry, found):
    """Where brute force begins to relax: at the end of the deck, or near where the package has relaxed what is left."""
    if "cell" in entry:
        return found.positions, found.cell
    return (found.positions, None) if entry.get("options", {}).get("relax") else (None, None)


def nearest(vectors, brute):
    """Vectors (N, 3) between nearest periodic images."""
    fractional = vectors @ np.linalg.inv(brute.cell)
    return vectors - np.round(fractional) * np.array(brute.periodic, bool) @ brute.cell


def of(outcome):
    """Parameters of a test: the decks with this outcome."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if entry.get("slow") else [])
        for name, entry in EXPECTED.items()
        if entry["outcome"] == outcome
    ]


@pytest.mark.parametrize("name", of("right"))
def test_derivatives_agree_with_relaxing_again(name, tmp_path):
    error, _ = compare(name, tmp_path)
    assert error < EXPECTED[name].get("tolerance", 1e-4)


@pytest.mark.parametrize("name", of("relaxes"))
def test_a_deck_without_parameters_is_relaxed_to_the_energy_of_plain_lammps(name, tmp_path):
    entry = EXPECTED[name]
    shutil.copytree(DECKS, tmp_path / "deck")
    found = differentiate(tmp_path / "deck" / f"in.{name}", entry)
    assert not len(found.theta), f"there are parameters: {name} is more than relaxed"
    brute = BruteForce(f"in.{name}", entry, tmp_path)
    brute.reference(*starting(entry, found))
    np.testing.assert_allclose(found.energy, brute.energy, rtol=1e-9)


@pytest.mark.parametrize("name", of("refused"))
def test_a_deck_is_refused_with_a_reason(name, tmp_path):
    shutil.copytree(DECKS, tmp_path / "deck")
    with pytest.raises(LammpsImplicitError) as refused:
        differentiate(tmp_path / "deck" / f"in.{name}", EXPECTED[name])
    assert EXPECTED[name]["words"] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_there_are_many_decks_and_each_is_in_the_table():
    assert {f"in.{name}" for name in EXPECTED} == {path.name for path in DECKS.glob("in.*")}
    assert len(EXPECTED) >= 60
    for entry in EXPECTED.values():
        assert entry["outcome"] in ("right", "relaxes", "refused")
        assert bool(entry.get("words")) == (entry["outcome"] == "refused")


def test_the_table_in_the_documentation_is_current():
    assert TABLE.read_text(encoding="utf-8") == table(EXPECTED)
