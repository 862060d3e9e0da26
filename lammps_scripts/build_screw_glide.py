"""Build a screw dislocation in W before and after it glides to the next easy core, for in.w_screw_glide.

    python build_screw_glide.py --radius 15

Writes w_screw_glide_0.data and w_screw_glide_1.data, one Burgers vector long: the same atoms in the same cell, with the
same rim, placed by the elastic solution of a hard core in the middle, so that both easy cores beside it are alike. Type
1 is free, type 2 the rim.
"""

import argparse
from pathlib import Path

import builder_options
import data_file
from build_screw_core import nearest_columns, with_core_beside
from build_screw_dislocation import METALS, box, make_slice

from lammps_implicit.files import written_whole


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--radius", type=builder_options.positive, default=15.0, help="radius of the free cylinder, Å (default 15)"
    )
    builder_options.run(parser, build, arguments)


def build(options: argparse.Namespace) -> None:
    """Write both data files; --output gives their folder and the stem of their names."""
    stem = Path("w_screw_glide") if options.output is None else options.output.with_suffix("")
    hard = make_slice("W", METALS["W"], options.radius, "hard")
    for state, corner in enumerate(nearest_columns(hard)[:2]):
        header = data_file.Header(
            f"screw dislocation in W: easy core {state + 1} of 2, radius {options.radius:g} A",
            len(hard.types),
            box(hard, 1),
            [("W", "W, free"), ("W", "W, frozen rim")],
        )
        with written_whole(stem.with_name(f"{stem.name}_{state}.data"), options.overwrite) as data:
            data_file.write(data, header, [(hard.types, with_core_beside(hard, corner))])
    print(f"wrote {stem}_0.data and {stem}_1.data, {len(hard.types)} atoms")


if __name__ == "__main__":
    main()
