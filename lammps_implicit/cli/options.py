"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace output files if they exist.")]
