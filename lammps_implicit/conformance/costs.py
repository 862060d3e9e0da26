"""What would be differentiated, and what each product will cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lammps_implicit.conformance.finding import Finding, Verdict, counted
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.coupling import coupling_evaluations
from lammps_implicit.operators.sweep import MANY, bare_evaluations
from lammps_implicit.potentials.installed import InstalledPotential
from lammps_implicit.solvers.interface import iterations_expected

TOL = 1e-5
"""Relative tolerance that costs are given for: the default of the commands."""


DEAR, DEARER = MANY, 10
"""Force evaluations, and multiple of those of the Jacobian, beyond which the second derivative of the energy is left
out unless it is asked for. Chosen: seconds in a small cell, and much more than the Jacobian in any."""


@dataclass(frozen=True)
class Costs:
    """Parameters, and force evaluations of each product at a well-conditioned minimum.

    Attributes
    ----------
    parameters : tuple of str
        Labels; empty if nothing can be differentiated.
    method : str
        How the mixed derivative is computed.
    evaluations : dict of str to int
        By product, to a tolerance of `TOL`.
    installations : dict of str to int
        By product, how many of its evaluations are at other parameters, which LAMMPS reads first.
    seconds : float
        Time of one force evaluation.
    reason : str
        Why nothing can be differentiated; empty if something can.
    """

    parameters: tuple[str, ...]
    method: str
    evaluations: dict[str, int]
    installations: dict[str, int]
    seconds: float
    reason: str

    def findings(self) -> list[Finding]:
        """Report parameters and costs."""
        if self.reason:
            return [Finding("parameters", Verdict.unmeasured, f"none: {self.reason}")]
        names = ", ".join(self.parameters[:4]) + (", ..." if len(self.parameters) > 4 else "")
        text = f"{len(self.parameters)}, by {self.method}: {names}"
        shown = (f"{name} {count} ({count * self.seconds:.2g} s)" for name, count in self.evaluations.items())
        return [
            Finding("parameters", Verdict.good, text, "", {"names": list(self.parameters), "method": self.method}),
            Finding(
                "cost of products",
                Verdict.good,
                f"about, in force evaluations of {1e3 * self.seconds:.2g} ms to a tolerance of {TOL:.0e}: "
                + ", ".join(shown),
                "",
                {"evaluations": self.evaluations, "seconds_per_evaluation": self.seconds, "tolerance": TOL},
            ),
        ]


def estimate_costs(engine: Evaluator, potential: Any, reason: str, strains: int) -> Costs:
    """Estimate costs from the time of the evaluations so far; nothing is evaluated.

    Parameters
    ----------
    engine : Evaluator
    potential : Potential or None
    reason : str
        Why there is no potential.
    strains : int
        Number of strains that the cell can take.
    """
    seconds = engine.seconds / max(engine.evaluations.forces, 1)
    if potential is None:
        return Costs((), "", {}, {}, seconds, reason)
    names = tuple(potential.names)
    swept = isinstance(potential, InstalledPotential)
    solve = 2 + round(iterations_expected(TOL))
    along, complete = (4, 2 * len(names) + 3) if swept else (3, 3)
    method = "differences over the parameters" if swept else "the potential's own derivatives"
    evaluations = {"jvp": solve + along, "vjp": solve + complete}
    installations = {"jvp": along, "vjp": complete, "Jacobian, at most": complete} if swept else {}
    evaluations["Jacobian, at most"] = complete + len(names) * (solve - 2) + 2
    if swept:
        bare = bare_evaluations(potential.linear)
        if bare:
            by_default = f", left out if over {DEARER} times the Jacobian's" if bare > DEAR else ""
            product = f"second derivatives of the energy{by_default}"
            evaluations[product] = installations[product] = bare
    if strains:
        evaluations[f"added in total with the cell ({counted(strains, 'strain')})"] = (
            coupling_evaluations(strains) + strains * solve
        )
    return Costs(names, method, evaluations, installations, seconds, "")


def is_dear(hessian: int, jacobian: int) -> bool:
    """Whether ∂²U/∂Θ² is left out by default, from the evaluations of it and of the Jacobian."""
    return hessian > max(DEAR, DEARER * jacobian)
