"""Tolerances of the parts of a product, relative to that of the whole."""

PROBE = 100.0
"""Contribution of the probe for saddle points to the initial residual along a typical mode, relative to the tolerance.
Chosen: well above 1, so that a solve cannot converge without resolving the unstable mode; larger values cost
iterations."""

JACOBIAN_MARGIN = 0.1
"""Residuals of the solves for a Jacobian, relative to its tolerance, so that the error along soft modes stays within it
too. Chosen: modes ten times softer than typical ones are covered."""

NO_COUPLING = 1e-6
"""Forces per strain, relative to the typical stiffness times 1 Å, that count as noise. Atoms at centres of symmetry
feel no force under strain but that of differences, about 1e-6 of the coupling: see `operators.coupling`."""

STRAIN_TOLERANCE = 1e-5
"""Least tolerance that strain derivatives are held to, which are differences of differences: with the steps of
`operators.coupling` they agree to 1e-6 where forces are smooth (measured)."""

FINITE_DIFFERENCE = 1e-3
"""Relative difference of what a finite strain sees from the derivatives, above which it is told. Chosen: curvature of
smooth energies leaves 1e-5 to 1e-4 at strains of `operators.coupling.FINITE_STRAIN`; rough tables 1e-3 to 1e-1
(measured)."""

RECYCLING_MEMORY = 512 * 2**20
"""Bytes per rank for the search directions shared by the solves of a Jacobian. Chosen: memory against iterations."""
