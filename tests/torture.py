"""Kill commands at random moments, and see that nothing is lost, wrong or left over: ``python tests/torture.py``.

Each round takes a command that writes, on one or two ranks, in a folder that holds its results of before or none, and
kills it up to six times: one of its processes, its launcher or all of them, at a moment of its whole life or just as
it writes. After each kill it has to end soon, every file that is there has to be whole, and nothing may be left over.
The command then runs to its end, and must give the numbers of a run that nobody disturbed and no file besides.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from conftest import TA_BULK, TA_VACANCY_READ, ta_data

from lammps_implicit.files.hdf5 import _check_seal

MPIRUN = shutil.which("mpirun", path=f"{sys.prefix}/bin") or shutil.which("mpirun")
LOG = Path(__file__).parent.parent / "benchmarks" / "results" / "torture.log"

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
PATIENCE = 20.0
"""Seconds within which a killed command must have ended, on all ranks."""

TIDYING = 5.0
"""Seconds within which its temporary files must have gone."""

FIND = """\
cells: {vacancy: {deck: in.ta}}
observables: {e: {kind: energy, cell: vacancy}}
loss: {observables: {e: {target: -632.0}}, terms: [{kind: prior, ridge: 1.0e-9}]}
iterations: 6
"""

STUDY = "bulk: {deck: in.bulk}\ndefects: {vacancy: {deck: in.ta}}\n"

Numbers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Victim:
    """A command that writes.

    Attributes
    ----------
    words : str
        As it is run.
    numbers : tuple of str
        What it computes, which depends on nothing but the input, to `tolerance`: FILE:DATASET, or a data file.
    again : str
        Option with which it runs where results are already; ``--resume`` needs the first file of `numbers`.
    kills : int
        How often it is killed at most before it may end; fewer for those that take long.
    """

    words: str
    numbers: tuple[str, ...] = ()
    again: str = "--overwrite"
    tolerance: float = 1e-4
    kills: int = 6


VICTIMS = (
    Victim("relax in.ta -o x.data", ("x.data",)),
    Victim("sensitivity in.ta -o o.h5", ("o.h5:energy", "o.h5:energy_gradient", "o.h5:jacobian")),
    Victim("predict ta.h5 --theta t.npy -o o.h5", ("o.h5:energy", "o.h5:displacement")),
    Victim("propagate ta.h5 --ensemble e.npy -o o.h5", ("o.h5:observables/energy/estimates",)),
    Victim(
        "validate ta.h5 --ensemble e.npy --samples 8 --shard 1/2 -o v",
        ("v/shard-1-of-2.h5:true", "v/shard-1-of-2.h5:estimates", "v/shard-1-of-2.h5:status"),
        again="",
    ),
    Victim("merge shards -o m.h5", ("m.h5:true",)),
    Victim("report p.h5 -o r.html"),
    Victim("observables study.yaml -o o.h5", ("o.h5:observables/vacancy: formation energy/value",)),
    Victim("invert find.yaml -o f", ("f/history.h5:loss", "f/history.h5:theta"), again="--resume"),
    Victim("check in.bulk -o c.png --json c.json --lines 2", kills=2),
    Victim("demo -o d", ("d/w_vacancy.h5:jacobian",), tolerance=1e-2, kills=2),
)


@dataclass
class Undisturbed:
    """What a command leaves, and how long it takes."""

    files: set[str] = field(default_factory=set)
    numbers: Numbers = field(default_factory=dict)
    seconds: float = 0.0


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
    errors = process.communicate(timeout=300)[1]
    if process.returncode:
        raise AssertionError(f"{' '.join(words[-6:])}: {errors[-300:]}")


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "atoms.data").write_text(ta_data(range(1, 54)))
    (folder / "in.ta").write_text(TA_VACANCY_READ)
    (folder / "in.bulk").write_text(TA_BULK)
    (folder / "find.yaml").write_text(FIND)
    (folder / "study.yaml").write_text(STUDY)
    program = [sys.executable, "-m", "lammps_implicit"]
    run([*program, *["sensitivity", "in.ta", "-o", "ta.h5"]], folder)
    with h5py.File(folder / "ta.h5") as file:
        theta = file["theta"][()]
    np.save(folder / "t.npy", 1.0001 * theta)
    np.save(folder / "e.npy", theta * (1 + 1e-5 * np.random.default_rng(0).standard_normal((60, len(theta)))))
    run([*program, *["propagate", "ta.h5", "--ensemble", "e.npy", "-o", "p.h5"]], folder)
    for shard in (0, 1):
        words = f"validate ta.h5 --ensemble e.npy --samples 4 --shard {shard}/2 -o shards"
        run([*program, *words.split()], folder)


def files(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def computed(victim: Victim, folder: Path) -> Numbers:
    """What a command has computed."""
    found = {}
    for place in victim.numbers:
        name, _, dataset = place.partition(":")
        if dataset:
            with h5py.File(folder / name) as file:
                found[place] = file[dataset][()]
        else:
            atoms = (folder / name).read_text().partition("Atoms")[2].partition("\n\n")[2].partition("\n\n")[0]
            rows = np.array([line.split()[:5] for line in atoms.splitlines()], float)
            found[place] = rows[np.argsort(rows[:, 0])]
    return found


def differences(victim: Victim, found: Numbers, expected: Numbers) -> list[str]:
    """Which numbers differ from those of a run that nobody disturbed."""
    wrong = []
    for place, true in expected.items():
        mine, margin = found[place], victim.tolerance * np.nanmax(np.abs(true))
        if mine.shape != true.shape or not np.allclose(mine, true, victim.tolerance, margin, equal_nan=True):
            wrong.append(f"{place} is {mine.ravel()[:3]} instead of {true.ravel()[:3]}")
    return wrong


def is_whole(path: Path) -> bool:
    """Whether a file that a command has written is whole."""
    content = path.read_bytes()
    if path.suffix == ".h5":
        try:
            return _check_seal(path)
        except Exception:
            return False
    if path.suffix == ".json":
        try:
            return bool(json.loads(content))
        except ValueError:
            return False
    ends = {".png": b"IEND\xaeB`\x82", ".html": b"</html>\n", ".xyz": b"\n", ".data": b"\n"}
    return len(content) > 0 and content.endswith(ends.get(path.suffix, b""))


def ranks_of(folder: Path) -> list[int]:
    """Processes of Python that run in a folder: launchers start ranks in sessions of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if (entry / "cwd").resolve() == folder.resolve() and b"python" in Path(os.fsdecode(words[0])).name.encode():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until something is true; return whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return bool(condition())


def kill(process: subprocess.Popen[str], number: int, target: str, folder: Path, chance: random.Random) -> None:
    """Send a signal to one rank, the launcher, or all."""
    processes = ranks_of(folder)
    chosen = {"launcher": [process.pid], "rank": [chance.choice(processes or [process.pid])]}
    for one in chosen.get(target, [process.pid, *processes]):
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue  # it has ended


@dataclass
class Kill:
    """One kill: what was done, what it came to, and what was wrong."""

    victim: Victim
    ranks: int
    number: signal.Signals
    target: str
    moment: str = ""
    outcome: str = ""
    late: bool = False
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = f"{self.victim.words.split()[0]} x{self.ranks}, {self.number.name} to {self.target} {self.moment}"
        return f"{what}, {self.outcome}" + (f"  WRONG: {'; '.join(self.wrong)}" if self.wrong else "")


def torture(done: Kill, folder: Path, undisturbed: Undisturbed, before: set[str], chance: random.Random) -> None:
    """Run a command, kill it, and look at what it leaves."""
    locks = {name for name in files(folder) if name.endswith(".lock")}  # of kills before
    process = start(command(done.victim, done.ranks, option(done.victim, folder)), folder)
    begun = time.monotonic()
    if chance.random() < 0.4:
        wait_for(lambda: process.poll() is not None or any(folder.rglob(".*.partial")), 3 * undisturbed.seconds + 10)
        time.sleep(chance.choice([0.0, 0.001, 0.01, 0.05]))
        done.moment = f"as it writes, after {time.monotonic() - begun:.1f} s"
    else:
        time.sleep(chance.uniform(0.02, 1.05) * undisturbed.seconds)
        done.moment = f"after {time.monotonic() - begun:.1f} s"
    done.late = process.poll() is not None
    kill(process, done.number, done.target, folder, chance)
    begun = time.monotonic()
    try:
        errors = process.communicate(timeout=PATIENCE)[1]
        done.outcome = f"ended {time.monotonic() - begun:.1f} s later ({process.returncode})"
    except subprocess.TimeoutExpired:
        for one in (process.pid, *ranks_of(folder)):
            os.kill(one, signal.SIGKILL)
        errors = process.communicate()[1]
        done.wrong.append("did not end")
    if done.late:
        done.outcome = f"had ended ({process.returncode})"
    # Python's own start, before our first line, is not ours to answer for.
    if "Traceback" in errors and "lammps_implicit/" in errors:
        done.wrong.append(f"traceback: {errors.splitlines()[-1]}")
    if process.returncode not in (0, -done.number, 128 + done.number) and done.ranks == 1:
        done.wrong.append(f"exit status {process.returncode}: {errors[-200:]}")
    if not wait_for(lambda: not ranks_of(folder), PATIENCE):
        done.wrong.append("a process goes on")
    # A lock is left to its next owner by processes that were killed outright, as launchers kill the other ranks.
    if done.ranks > 1 or done.number == signal.SIGKILL:
        locks |= {name for name in files(folder) if name.endswith(".lock")}
    if not wait_for(lambda: files(folder) - locks <= undisturbed.files | before, TIDYING):
        done.wrong.append(f"left {sorted(files(folder) - locks - undisturbed.files - before)}")
    done.wrong += [
        f"{name} is not whole"
        for name in files(folder) - before - locks
        if (folder / name).is_file() and not is_whole(folder / name)
    ]


def option(victim: Victim, folder: Path) -> str:
    """Option with which a command runs in a folder."""
    there = (folder / victim.numbers[0].partition(":")[0]).exists() if victim.numbers else False
    return victim.again if victim.again != "--resume" or there else "--overwrite"


def chain(
    victim: Victim, ranks: int, folder: Path, undisturbed: Undisturbed, before: set[str], chance: random.Random
) -> list[Kill]:
    """Kill a command a few times in one folder, then let it end."""
    kills = []
    for _ in range(chance.randint(1, victim.kills)):
        target = chance.choice(["rank", "launcher", "all"]) if ranks > 1 else "rank"
        kills.append(Kill(victim, ranks, chance.choice(SIGNALS), target))
        torture(kills[-1], folder, undisturbed, before, chance)
    last = kills[-1]
    try:
        run(command(victim, ranks, option(victim, folder)), folder)
        last.wrong += differences(victim, computed(victim, folder), undisturbed.numbers)
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        last.wrong.append(f"does not run again: {error}")
    if files(folder) != undisturbed.files:
        last.wrong.append(f"files differ after running again: {sorted(files(folder) ^ undisturbed.files)}")
    return kills


def table(kills: list[Kill]) -> str:
    """Kills of each command by signal and ranks, without those that came after its end; what was wrong with ``!``."""
    counted = [done for done in kills if not done.late]
    columns = [(number, ranks) for number in SIGNALS for ranks in (1, 2)]
    lines = [f"{'':14}" + "".join(f"{f'{number.name[3:]} x{ranks}':>9}" for number, ranks in columns)]
    for victim in VICTIMS:
        line = f"{victim.words.split()[0]:14}"
        for number, ranks in columns:
            mine = [done for done in counted if (done.victim, done.number, done.ranks) == (victim, number, ranks)]
            wrong = sum(bool(done.wrong) for done in mine)
            line += f"{f'{len(mine)}' + (f' !{wrong}' if wrong else ''):>9}"
        lines.append(line)
    targets = Counter(done.target for done in counted if done.ranks > 1)
    wrong = sum(bool(done.wrong) for done in kills)
    lines.append(f"on two ranks: {', '.join(f'{count} to {target}' for target, count in sorted(targets.items()))}")
    lines.append(f"{len(counted)} kills, {wrong} wrong; {len(kills) - len(counted)} more came after the end")
    return "\n".join(lines)


def main() -> int:
    """Torture for some minutes; the log says what was done. Returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default="", help="names, separated by commas; default: all")
    parser.add_argument("--log", type=Path, default=LOG)
    given = parser.parse_args()
    chance, began = random.Random(given.seed), time.monotonic()
    kills: list[Kill] = []
    references: dict[tuple[Victim, int], tuple[Path, Undisturbed]] = {}
    with tempfile.TemporaryDirectory() as scratch, open(given.log, "w", encoding="utf-8") as log:

        def tell(line: str) -> None:
            print(line, flush=True)
            print(line, file=log, flush=True)

        base = Path(scratch) / "base"
        prepare(base)
        names = given.commands.split(",") if given.commands else [victim.words.split()[0] for victim in VICTIMS]
        order = [(victim, ranks) for victim in VICTIMS if victim.words.split()[0] in names for ranks in (1, 2)]
        chance.shuffle(order)
        for victim, ranks in itertools.cycle(order):
            if time.monotonic() - began > 60 * given.minutes:
                break
            if (victim, ranks) not in references:
                folder = Path(scratch) / f"undisturbed-{VICTIMS.index(victim)}-{ranks}"
                shutil.copytree(base, folder)
                since = time.monotonic()
                run(command(victim, ranks), folder)
                seconds = time.monotonic() - since
                references[victim, ranks] = (
                    folder,
                    Undisturbed(files(folder), computed(victim, folder), seconds),
                )
            known, undisturbed = references[victim, ranks]
            folder = Path(scratch) / "round"
            # Where results are resumed or continued they are made in this folder; others may be there from before.
            shutil.copytree(known if victim.again == "--overwrite" and chance.random() < 0.5 else base, folder)
            for done in chain(victim, ranks, folder, undisturbed, files(base), chance):
                kills.append(done)
                tell(str(done))
            shutil.rmtree(folder)
        tell(f"\nseed {given.seed}\n{table(kills)}")
    return int(any(done.wrong for done in kills))


if __name__ == "__main__":
    sys.exit(main())
