"""What the package costs, measured: the small versions behind ``lammps-implicit bench``, and their tables and plots."""
