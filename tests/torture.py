"""Kill commands at random moments, and see that nothing is lost, wrong or left over: ``python tests/torture.py``.

Each round starts a command that writes, on one or two ranks, and kills it: one of its processes, its launcher or all of
them. It has to end soon; files that are there then must be whole. The command then runs again, and must end with the
numbers of a run that nobody disturbed and with no file besides. Signals that can be caught must leave nothing even
before that, unless they went to the launcher, which kills its ranks.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from conftest import TA_VACANCY, TA_VACANCY_READ, ta_data

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")
LOG = Path(__file__).parent.parent / "benchmarks" / "results" / "torture.log"

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
PATIENCE = 20.0
"""Seconds within which a killed command must have ended, on all ranks."""

FIND = """\
cells: {vacancy: {deck: in.ta}}
observables: {e: {kind: energy, cell: vacancy}}
loss: {observables: {e: {target: -632.0}}, terms: [{kind: prior, ridge: 1.0e-9}]}
iterations: 6
"""

STUDY = "bulk: {deck: in.bulk}\ndefects: {vacancy: {deck: in.ta}}\n"


@dataclass(frozen=True)
class Victim:
    """A command that writes.

    Attributes
    ----------
    words : str
        As it is run.
    again : str
        As it is run after it was killed.
    outputs : tuple of str
        HDF5 files it writes.
    numbers : tuple of str
        Datasets of the first, which depend on nothing but the input, to `tolerance`.
    """

    words: str
    again: str
    outputs: tuple[str, ...]
    numbers: tuple[str, ...]
    tolerance: float = 1e-4


VICTIMS = (
    Victim("relax in.ta -o x.data", "--overwrite", (), ()),
    Victim("sensitivity in.ta -o o.h5", "--overwrite", ("o.h5",), ("energy", "energy_gradient", "jacobian")),
    Victim("predict ta.h5 --theta t.npy -o o.h5", "--overwrite", ("o.h5",), ("energy", "displacement")),
    Victim("propagate ta.h5 --ensemble e.npy -o o.h5", "--overwrite", ("o.h5",), ("observables/energy/estimates",)),
    Victim(
        "validate ta.h5 --ensemble e.npy --samples 8 -o v", "", ("v/shard-0-of-1.h5",), ("true", "estimates", "status")
    ),
    Victim(
        "observables study.yaml -o o.h5", "--overwrite", ("o.h5",), ("observables/vacancy: formation energy/value",)
    ),
    Victim("invert find.yaml -o f", "--resume", ("f/history.h5",), ("loss", "theta")),
)


def command(victim: Victim, ranks: int, more: str = "") -> list[str]:
    """Words of a command on a number of ranks."""
    launcher = [str(MPIRUN), "-n", str(ranks)] if ranks > 1 else []
    return [*launcher, sys.executable, "-m", "lammps_implicit", *victim.words.split(), *more.split()]


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command in a folder, whose ``tmp`` is its temporary folder, as a session of its own."""
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(words: list[str], folder: Path) -> None:
    """Run a command to its end, which must be good."""
    process = start(words, folder)
    errors = process.communicate(timeout=120)[1]
    if process.returncode:
        raise AssertionError(f"{' '.join(words[-6:])}: {errors[-300:]}")


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "atoms.data").write_text(ta_data(range(1, 54)))
    (folder / "in.ta").write_text(TA_VACANCY_READ)
    bulk = TA_VACANCY.replace("group           vacancy id 1\ndelete_atoms    group vacancy compress no\n", "")
    (folder / "in.bulk").write_text(bulk.replace("0 3 0 3 0 3", "0 2 0 2 0 2"))
    (folder / "find.yaml").write_text(FIND)
    (folder / "study.yaml").write_text(STUDY)
    run([sys.executable, "-m", "lammps_implicit", "sensitivity", "in.ta", "-o", "ta.h5"], folder)
    with h5py.File(folder / "ta.h5") as file:
        theta = file["theta"][()]
    np.save(folder / "t.npy", 1.0001 * theta)
    np.save(folder / "e.npy", theta * (1 + 1e-5 * np.random.default_rng(0).standard_normal((60, len(theta)))))


def files(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def numbers(victim: Victim, folder: Path) -> list[np.ndarray]:
    """What a command has computed."""
    if not victim.outputs:
        return []
    with h5py.File(folder / victim.outputs[0]) as file:
        return [file[name][()] for name in victim.numbers]


def ranks_of(process: subprocess.Popen[str], folder: Path) -> list[int]:
    """Processes of Python that run in a folder: launchers start ranks in sessions of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if (entry / "cwd").resolve() == folder.resolve() and b"python" in Path(os.fsdecode(words[0])).name.encode():
                found.append(int(entry.name))
        except OSError:
            continue
    return found or [process.pid]


def kill(process: subprocess.Popen[str], number: int, target: str, folder: Path, chance: random.Random) -> None:
    """Send a signal to one rank, the launcher, or all of a session."""
    try:
        if target == "all":
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid if target == "launcher" else chance.choice(ranks_of(process, folder)), number)
    except ProcessLookupError:
        pass  # it has ended


def torture(victim: Victim, ranks: int, folder: Path, reference: dict[str, object], chance: random.Random) -> str:
    """Kill a command once; return what was done, and what was wrong after ``WRONG``."""
    number = chance.choice(SIGNALS)
    target = chance.choice(["rank", "launcher", "all"] if ranks > 1 else ["rank"])
    process = start(command(victim, ranks), folder)
    moment = chance.uniform(0.3, 1.2) * float(reference["seconds"])  # type: ignore[arg-type]
    time.sleep(moment)
    ended = process.poll() is not None
    kill(process, number, target, folder, chance)
    told = f"{victim.words.split()[0]} x{ranks}, {signal.Signals(number).name} to {target} after {moment:.1f} s"
    wrong = []
    begun = time.monotonic()
    try:
        errors = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        errors = process.communicate()[1]
        wrong.append("did not end")
    told += f", ended {time.monotonic() - begun:.1f} s later ({'before' if ended else process.returncode})"
    if "Traceback" in errors and number != signal.SIGKILL and not ended:
        wrong.append(f"traceback: {errors.splitlines()[-1]}")
    known = reference["files"]
    assert isinstance(known, set)
    if number != signal.SIGKILL and target == "rank" and ranks == 1 and files(folder) - known:
        wrong.append(f"left {sorted(files(folder) - known)}")
    for name in victim.outputs:
        if (folder / name).exists():
            wrong += [] if _readable(folder / name) else [f"{name} is not whole"]
    try:
        there = (folder / "f" / "history.h5").exists()
        more = victim.again if victim.again != "--resume" or there else "--overwrite"
        run(command(victim, ranks, more), folder)
        for mine, true in zip(numbers(victim, folder), reference["numbers"], strict=True):  # type: ignore[call-overload]
            if mine.shape != true.shape or not np.allclose(
                mine, true, victim.tolerance, victim.tolerance * np.nanmax(abs(true)), equal_nan=True
            ):
                wrong.append(f"other numbers: {mine.ravel()[:3]} instead of {true.ravel()[:3]}")
    except (AssertionError, subprocess.TimeoutExpired) as error:
        wrong.append(f"does not run again: {error}")
    if files(folder) != known:
        wrong.append(f"files differ after running again: {sorted(files(folder) ^ known)}")
    return told + (f"  WRONG: {'; '.join(wrong)}" if wrong else "")


def _readable(path: Path) -> bool:
    """Whether a sealed file is whole."""
    from lammps_implicit.files.hdf5 import _check_seal

    try:
        return _check_seal(path)
    except Exception:
        return False


def main() -> int:
    """Torture for some minutes; the log says what was done. Returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=LOG)
    given = parser.parse_args()
    chance, began = random.Random(given.seed), time.monotonic()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch, open(given.log, "w", encoding="utf-8") as log:

        def tell(line: str) -> None:
            print(line, flush=True)
            print(line, file=log, flush=True)

        base = Path(scratch) / "base"
        prepare(base)
        references: dict[tuple[str, int], dict[str, object]] = {}
        for victim in VICTIMS:
            for ranks in (1, 2):
                folder = Path(scratch) / f"reference-{VICTIMS.index(victim)}-{ranks}"
                shutil.copytree(base, folder)
                since = time.monotonic()
                run(command(victim, ranks), folder)
                seconds = time.monotonic() - since
                references[victim.words, ranks] = {
                    "files": files(folder),
                    "numbers": numbers(victim, folder),
                    "seconds": seconds,
                }
        while time.monotonic() - began < 60 * given.minutes:
            victim, ranks = chance.choice(VICTIMS), chance.choice([1, 2])
            folder = Path(scratch) / "round"
            shutil.copytree(base, folder)
            line = torture(victim, ranks, folder, references[victim.words, ranks], chance)
            shutil.rmtree(folder)
            counts["wrong" if "WRONG" in line else "late" if "(before)" in line else "clean"] += 1
            tell(line)
        tell(
            f"{counts.total()} kills: {counts['clean']} clean, {counts['wrong']} wrong, {counts['late']} after the end "
            f"(seed {given.seed})"
        )
    return min(counts["wrong"], 1)


if __name__ == "__main__":
    sys.exit(main())
