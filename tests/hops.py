"""Decks of vacancies that jump: the two end states of each differ by a variable."""

FCC = """\
units           metal
variable        hop index 0
variable        size index 2
lattice         fcc 3.615
region          cell block 0 ${size} 0 ${size} 0 ${size}
create_box      1 cell
create_atoms    1 box
mass            1 63.546
group           vacancy id 1
delete_atoms    group vacancy compress no
group           first id 2
region          second sphere 1 1 0 0.1
group           second region second
if "${hop} > 0" then "displace_atoms first move -0.5 -0.5 0"
if "${hop} > 1" then "displace_atoms second move -0.5 -0.5 0"
pair_style      morse 6.0
pair_coeff      1 1 0.35 1.36 2.87
pair_modify     shift yes
minimize        0 1e-6 1000 10000
"""
"""Copper of Morse: atom 2 takes the place of the vacancy at 1, and then the next atom of that row takes its place."""

BCC = """\
units           metal
variable        hop index 0
lattice         bcc 3.316
region          cell block 0 3 0 3 0 3
create_box      1 cell
create_atoms    1 box
mass            1 180.95
group           vacancy id 1
delete_atoms    group vacancy compress no
group           first id 2
if "${hop} > 0" then "displace_atoms first move -0.5 -0.5 -0.5"
pair_style      hybrid/overlay zbl 4.0 4.8 snap
pair_coeff      1 1 zbl 73 73
pair_coeff      * * snap Ta06A.snapcoeff Ta06A.snapparam Ta
minimize        0 1e-6 1000 10000
"""


def halfway(text):
    """One of the decks above made to end at the saddle of the first jump: the atom is held half-way to the vacancy."""
    lines = text.splitlines()
    hop = next(line for line in lines if line.startswith('if "${hop} > 0"'))
    move = hop.partition('then "')[2].rstrip('"').replace("-0.5", "-0.25")
    last = lines.index(next(line for line in lines if line.startswith("minimize")))
    held = ["fix hold first setforce 0 0 0", lines[last], "unfix hold"]
    kept = [line for line in lines[:last] if not line.startswith("if ")]
    place = kept.index(next(line for line in kept if line.startswith("pair_style")))
    return "\n".join([*kept[:place], move, *kept[place:], *held]) + "\n"


WELL = """\
units           metal
variable        depth index 0.35
region          cell block 0 24 0 12 0 12
create_box      3 cell
create_atoms    1 single 8 6 6
create_atoms    2 single 16 6 6
create_atoms    3 single 12 6 6
mass            * 60
pair_style      morse/smooth/linear 9.0
pair_coeff      * * 0 1.2 2.8
pair_coeff      1 3 0.35 1.2 2.8
pair_coeff      2 3 ${depth} 1.2 2.8
group           mobile type 3
group           walls type 1 2
fix             walls walls setforce 0 0 0
fix             line mobile setforce NULL 0 0
"""
"""One atom that moves on a line between two others: it is bound to either, with a saddle between, as long as bonds of
length r₀ + ln(2) / α are shorter than half the way."""
