"""What the package costs, measured: the benchmarks, their tables and plots, and the small versions of them all."""
