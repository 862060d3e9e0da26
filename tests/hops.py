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
