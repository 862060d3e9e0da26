"""While a deck runs for long, a line says what LAMMPS is doing, and Ctrl-C ends it."""

import os
import re
import signal
import subprocess
import sys

import pytest

from lammps_implicit.evaluators import Engine, silence

CRYSTAL = """\
units           lj
lattice         fcc 1
region          c block 0 3 0 3 0 3
create_box      1 c
create_atoms    1 box
mass            1 1
velocity        all create 0.5 7
pair_style      lj/cut 2.5
pair_coeff      1 1 1 1
fix             1 all nve
thermo          100
"""

COMMAND = """\
from lammps_implicit.cli import main
from lammps_implicit.evaluators import silence
silence.FIRST = 0.3
main()
"""


def test_lines_at_growing_intervals(write_deck, monkeypatch, capfd):
    monkeypatch.setattr(silence, "FIRST", 0.1)
    engine = Engine.start()
    try:
        engine.run_deck(write_deck(CRYSTAL + "run 8000\n"))
    finally:
        engine.close()
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert all("LAMMPS is at 'run 8000'" in line for line in lines)
    times = [float(re.match(r"in.test has run for (\S+) s:", line)[1]) for line in lines]
    assert times == pytest.approx([0.1 * (2 ** (k + 1) - 1) for k in range(len(times))], rel=0.5)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (CRYSTAL + "run 100000000\n", r"'run 100000000', its last line is '\d+ "),
        ("variable i loop 1000000000\nlabel a\nnext i\njump SELF a\n", "'(next i|jump SELF a|label a)'"),
    ],
)
def test_a_deck_that_does_not_end_says_so_and_is_interrupted(write_deck, tmp_path, text, at):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "relax", str(write_deck(text)), "-o", str(tmp_path / "out.data")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    try:
        assert re.match(rf"in.test has run for \S+ s: LAMMPS is at {at}", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "error: stopped by SIGINT" in errors
    assert process.returncode == 128 + signal.SIGINT
    assert not list(scratch.iterdir())
    assert not (tmp_path / "out.data").exists()


def test_output_is_no_command(tmp_path):
    file = tmp_path / "transcript"
    file.write_text("minimize 0 1e-8 9 9\nStep\n  create_atoms CPU = 0.0 seconds\n   3  -1.2\n")
    commands = {"minimize", "create_atoms"}
    assert silence.doing(file, commands) == "LAMMPS is at 'minimize 0 1e-8 9 9', its last line is '3  -1.2'"
    assert silence.doing(tmp_path / "none", commands) == "LAMMPS has written nothing"
