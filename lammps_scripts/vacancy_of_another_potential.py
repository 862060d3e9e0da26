"""Relax a Ta vacancy with changed coefficients: the target from which invert_vacancy_structure.yaml finds them again.

    python vacancy_of_another_potential.py --change 0.03

Every coefficient changes at random by about this fraction. Writes ta_vacancy_target.data and the coefficients beside
it.
"""

import argparse
from pathlib import Path

import builder_options
import numpy as np

from lammps_implicit import Minimum
from lammps_implicit.files import refuse_to_overwrite
from lammps_implicit.results import write_data


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--change",
        type=builder_options.positive,
        default=0.03,
        help="relative change of the coefficients (default 0.03)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    builder_options.run(parser, build, arguments)


def build(options: argparse.Namespace) -> None:
    output = options.output or Path("ta_vacancy_target.data")
    coefficients = output.with_suffix(".snapcoeff")
    for path in (output, coefficients):
        refuse_to_overwrite(path, options.overwrite)
    with Minimum.from_deck("in.ta_vacancy") as vacancy:
        theta = vacancy.potential.theta
        change = options.change * np.random.default_rng(options.seed).standard_normal(len(theta)) * theta
        with vacancy.excursion(change):
            moved = vacancy.relax_away(1e-10)
            write_data(output, vacancy, f"Ta vacancy, coefficients changed by {options.change:g}", options.overwrite)
            vacancy.potential.coefficients.write(coefficients, options.overwrite)
    print(f"wrote {output} and {coefficients}: atoms moved by up to {moved:.4f} A")


if __name__ == "__main__":
    main()
