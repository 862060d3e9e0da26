"""The whole Jacobian of a vacancy by this package and by three alternatives, one after the other in one process.

All start from the relaxed structure. Errors are relative errors of single columns, measured against this package's
Jacobian at a much smaller tolerance (which the tests compare with brute force).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.one_cell import cell_arguments, start_afresh, variables_of
from lammps_implicit.benchmarks.plain_lammps import PlainLammps
from lammps_implicit.benchmarks.processes import Record, records_of, speak, work
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, logarithmic
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.operators.differenced_hessian import DifferencedHessian
from lammps_implicit.solvers.nullspace import NullSpace, rigid_motions

TOLERANCE = 1e-3
"""Relative tolerance of the Jacobians that are compared."""

REFERENCE = 1e-7
"""Relative tolerance of the reference Jacobian."""

LARGEST_FORCE = 0.005
"""eV/Å; size of a parameter step in brute force: the largest force component it causes. With `RELAXED` about the
loosest setting that reaches `TOLERANCE`."""

RELAXED = 3e-7
"""eV/Å; force tolerance of the relaxations in brute force."""


@dataclass
class Spent:
    """Evaluations of one method."""

    forces: int = 0
    descriptors: int = 0


def this_package(minimum: Minimum, tol: float) -> tuple[FloatArray, Spent]:
    """`Minimum.jacobian` as an array, (P, n, 3)."""
    array = minimum.jacobian(tol).to_array()
    cost = minimum.jacobian(tol).statistics.evaluations
    return array, Spent(cost.forces, cost.descriptors)


def dense_hessian(minimum: Minimum, tol: float) -> tuple[FloatArray, Spent]:
    """H column by column from one-sided differences of forces, factorised once for all parameters; (P, n, 3)."""
    return _counted(minimum, _dense)


def lgmres_per_parameter(minimum: Minimum, tol: float) -> tuple[FloatArray, Spent]:
    """SciPy's LGMRES without preconditioner, one solve per parameter, one-sided differences of forces; (P, n, 3)."""
    return _counted(minimum, lambda minimum, mixed, project: _lgmres(minimum, mixed, project, tol))


def relaxing_again(minimum: Minimum, deck: Path, variables: dict[str, str]) -> tuple[FloatArray, Spent]:
    """Relaxations in plain LAMMPS (``min_style cg``) with each parameter stepped up and down; (P, n, 3)."""
    mixed = minimum.potential.mixed_derivative(minimum.engine, minimum.hessian)
    largest = np.abs(mixed.to_array()).max(axis=(0, 1))
    steps = np.divide(LARGEST_FORCE, largest, out=np.zeros_like(largest), where=largest > 0)
    coefficients = minimum.potential.coefficients  # type: ignore[attr-defined]
    line = minimum.engine.deck.pair_coeffs[-1].args
    plain = PlainLammps(deck, variables)
    try:
        plain.minimize("cg", RELAXED / 10)
        start, already = plain.positions, plain.evaluations
        new = plain.folder / "theta.snapcoeff"
        rows = np.argsort(np.argsort(minimum.ids))  # from id order to this package's order
        jacobian = np.zeros((len(steps), *start.shape))
        for index in np.flatnonzero(steps):
            for step in (steps[index], -steps[index]):
                theta = coefficients.theta.copy()
                theta[index] += step
                new.write_text(coefficients.with_theta(theta).text(), encoding="utf-8")
                plain.positions = start
                plain.lmp.command(" ".join(("pair_coeff", *line[:3], str(new), *line[4:])))
                plain.minimize("cg", RELAXED)
                displacement = minimum.engine.nearest_image(plain.positions - start)
                jacobian[index] += displacement[rows] / (2 * step)
        return jacobian, Spent(plain.evaluations - already, 1)
    finally:
        plain.close()


def _counted(
    minimum: Minimum, method: Callable[[Minimum, FloatArray, NullSpace], FloatArray]
) -> tuple[FloatArray, Spent]:
    """Run a method with C and the translations as input, and count its evaluations."""
    engine = minimum.engine
    before = engine.evaluations.copy()
    mixed = minimum.potential.mixed_derivative(minimum.engine, minimum.hessian).to_array()
    jacobian = method(minimum, mixed, NullSpace(engine, rigid_motions(engine)))
    spent = engine.evaluations.since(before)
    return jacobian, Spent(spent.forces, spent.descriptors)


def _dense(minimum: Minimum, mixed: FloatArray, null_space: NullSpace) -> FloatArray:
    shape = minimum.positions.shape
    size, parameters = minimum.positions.size, mixed.shape[2]
    products = DifferencedHessian(minimum.engine, minimum.hessian.reference_forces)
    hessian = np.empty((size, size))
    unit = np.zeros(shape)
    for column in range(size):
        unit.flat[column] = 1.0
        hessian[:, column] = products.one_sided(unit).reshape(-1)
        unit.flat[column] = 0.0
    hessian = 0.5 * (hessian + hessian.T)
    # Rigid motions are made stiff. As right-hand sides have no component along them, solutions have none either.
    null = np.array([vector.reshape(-1) for vector in null_space.vectors])
    hessian += np.abs(hessian).max() * null.T @ null
    right = -np.array([null_space.project(mixed[:, :, k]).reshape(-1) for k in range(parameters)])
    return np.linalg.solve(hessian, right.T).T.reshape(parameters, *shape)


def _lgmres(minimum: Minimum, mixed: FloatArray, null_space: NullSpace, tol: float) -> FloatArray:
    from scipy.sparse.linalg import LinearOperator, lgmres

    shape, size = minimum.positions.shape, minimum.positions.size
    products = DifferencedHessian(minimum.engine, minimum.hessian.reference_forces)

    def apply(flat: FloatArray) -> FloatArray:
        direction = null_space.project(flat.reshape(shape))
        return null_space.project(products.one_sided(direction)).reshape(-1)

    operator = LinearOperator((size, size), matvec=apply, dtype=float)
    jacobian = np.zeros((mixed.shape[2], *shape))
    for index in np.flatnonzero(mixed.any(axis=(0, 1))):
        right = -null_space.project(mixed[:, :, index]).reshape(-1)
        solution, failed = lgmres(operator, right, rtol=tol, atol=0.0)
        if failed:
            raise LammpsImplicitError(f"LGMRES did not converge to {tol:g} for parameter {index}")
        jacobian[index] = null_space.project(solution.reshape(shape))
    return jacobian


METHODS = {
    "this package": this_package,
    "dense Hessian": dense_hessian,
    "LGMRES, no preconditioner": lgmres_per_parameter,
    "relaxing again": relaxing_again,
}


def measure(cell: Cell, say: Say, methods: Sequence[str] = tuple(METHODS)) -> Iterator[Record]:
    """Yield one record for each method, all measured in one process.

    Parameters
    ----------
    cell : Cell
    say : callable
        Called with a line of text before each measurement.
    methods : sequence of str
        Names in `METHODS`.
    """
    say(f"Jacobian: {cell}, {methods[0]}")
    arguments = [*cell.arguments, *(part for method in methods for part in ("--method", method))]
    for done, record in enumerate(records_of("jacobians", arguments), 1):
        yield {"system": cell.system, **record}
        if done < len(methods):
            say(f"Jacobian: {cell}, {methods[done]}")


def measure_here(deck: Path, variables: dict[str, str], methods: Sequence[str]) -> Iterator[Record]:
    """Yield one record for each method, measured in this process."""
    with Minimum.from_deck(deck, variables=variables, force_limit=np.inf) as minimum:
        reference = minimum.jacobian(REFERENCE).to_array()
        for method in methods:
            start_afresh(minimum)
            start = time.perf_counter()
            if method == "relaxing again":
                array, spent = relaxing_again(minimum, deck, variables)
            else:
                array, spent = METHODS[method](minimum, TOLERANCE)  # type: ignore[operator]
            seconds = time.perf_counter() - start
            errors = column_errors(array, reference)
            yield {
                "method": method,
                "atoms": minimum.engine.n_atoms,
                "parameters": len(reference),
                "tolerance": TOLERANCE,
                "force_evaluations": spent.forces,
                "descriptor_evaluations": spent.descriptors,
                "seconds": seconds,
                "median_error": float(np.median(errors)),
                "largest_error": float(errors.max()),
            }


def column_errors(array: FloatArray, reference: FloatArray) -> FloatArray:
    """Relative error of each non-zero column, net translations removed.

    Parameters
    ----------
    array, reference : (P, n, 3) float arrays

    Returns
    -------
    (Q,) float array
        For the Q parameters whose column in `reference` does not vanish.
    """
    array, reference = (values - values.mean(axis=1, keepdims=True) for values in (array, reference))
    sizes = np.linalg.norm(reference, axis=(1, 2))
    used = sizes > 0
    return np.linalg.norm(array - reference, axis=(1, 2))[used] / sizes[used]


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["system"],
            f"{record['atoms']:,}",
            record["method"],
            f"{record['force_evaluations']:,}",
            str(record["descriptor_evaluations"]),
            f"{record['seconds']:.1f}",
            f"{record['median_error']:.0e}",
            f"{record['largest_error']:.0e}",
        )
        for record in records
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot force evaluations, seconds and errors of each method as bars, for the largest cell."""
    drawn, panels = figure(3)
    atoms = max(record["atoms"] for record in records)
    shown = [record for record in records if record["atoms"] == atoms][::-1]
    names = [record["method"].replace(", ", ",\n") for record in shown]
    quantities = ("force_evaluations", "seconds", "largest_error")
    labels = ("force evaluations", "seconds", "largest relative error of a column")
    for axes, quantity, label in zip(panels, quantities, labels, strict=True):
        values = [record[quantity] for record in shown]
        colours = ["C0" if record["method"] == "this package" else "0.6" for record in shown]
        bars = axes.barh(range(len(shown)), values, color=colours, log=True)
        axes.bar_label(bars, [_short(value) for value in values], padding=3, fontsize="small")
        # Start at a power of ten, and leave room for the numbers beside the bars.
        axes.set(xlabel=label, xlim=(10 ** np.floor(np.log10(min(values) / 2)), 20 * max(values)))
        logarithmic(axes.xaxis)
        axes.set_yticks(range(len(shown)), names if axes is panels[0] else [""] * len(shown))
        axes.spines[["top", "right"]].set_visible(False)
    first = shown[0]
    drawn.suptitle(f"Jacobian of a {first['system']}: {atoms:,} atoms, {first['parameters']} parameters")
    write_figure(path, drawn, overwrite=True)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.1 else f"{value:.1e}"


def main() -> None:
    """Print one record for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    cell_arguments(parser)
    parser.add_argument("--method", action="append", choices=METHODS, required=True)
    arguments = parser.parse_args()
    for record in measure_here(arguments.deck, variables_of(arguments), arguments.method):
        speak(record)


BENCHMARK = Benchmark(
    "jacobians",
    f"The whole Jacobian, tolerance {TOLERANCE:g}",
    ("system", "atoms", "method"),
    ("system", "atoms", "method", "forces", "descriptors", "s", "median error", "largest error"),
    rows,
    plot,
)


if __name__ == "__main__":
    work(main)
