"""What a deck is, what would be differentiated of it, how, at what cost, and what stands in the way.

`inspecting` runs a deck and looks, `report` holds what was seen, `fixes` and `minimisations` say what fixes do here and
how minimisations ended.
"""

from lammps_implicit.inspection.inspecting import inspect_deck
from lammps_implicit.inspection.report import Inspection

__all__ = ["Inspection", "inspect_deck"]
