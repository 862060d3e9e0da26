"""Benchmarks of the package and of alternative methods: how they measure, and the tables and plots of their results.

`suite` runs small versions of the most important ones (the command ``bench``); the scripts in the folder ``benchmarks``
of the repository run full sizes. One file for each benchmark: `iterations`, `ranks`, `jacobians`, `relaxations`,
`expansions`, `ensembles`, `inverse`, `distortion`, `families` and `approaches`. Each has a function ``measure``, which
yields records, and a `Benchmark` that says how these become a table and a plot. `report` saves and shows records,
`processes` measures in separate processes, `one_cell` relaxes one cell and takes products, `cells` writes its deck,
`plain_lammps` runs LAMMPS without this package, and `machine` describes the hardware. Nothing is re-exported here, as
files of this room are run with ``python -m``, before which their package must not import them.
"""
