"""The examples in the docstrings of what a user meets first run as they stand."""

import doctest
import inspect
from pathlib import Path

import numpy as np
import pytest

from lammps_implicit import Minimum, minimum
from lammps_implicit.stationary import differentiable, point, relaxable

ROOT = Path(__file__).parent.parent

FIRST_MET = (
    "from_deck",
    "jvp",
    "vjp",
    "jacobian",
    "energy_gradient",
    "energy_hessian",
    "relax",
    "relaxed_at",
    "sensitivity",
    "expansion",
)


def examples_of(module):
    """Examples of the docstrings of a module, one `DocTest` per docstring that has any."""
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


EXAMPLES = [test for module in (relaxable, differentiable, point, minimum) for test in examples_of(module)]


@pytest.fixture(scope="module")
def vacancy():
    """The Ta vacancy to which the examples refer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        with Minimum.from_deck("lammps_scripts/in.ta_vacancy", variables={"n": "3"}) as found:
            yield found


@pytest.mark.parametrize("example", EXAMPLES, ids=[test.name.removeprefix("lammps_implicit.") for test in EXAMPLES])
def test_examples_run(example, vacancy):
    example.globs.update(minimum=vacancy, np=np)
    report: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=report.append)
    assert tried and not failed, "".join(report)


def test_functions_met_first_have_examples():
    names = {test.name.rpartition(".")[2] for test in EXAMPLES}
    assert set(FIRST_MET) <= names
    assert all("Examples\n--------\n" in (inspect.getdoc(getattr(Minimum, name)) or "") for name in FIRST_MET)
