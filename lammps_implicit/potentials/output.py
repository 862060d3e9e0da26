"""Parameter files written together: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lammps_implicit.files import refuse_to_overwrite, written_whole


def write_together(texts: Mapping[Path, str], overwrite: bool) -> list[Path]:
    """Write several text files, or none if one cannot be written; line ends are kept.

    Parameters
    ----------
    texts : mapping of Path to str
        Text of each file.
    overwrite : bool
        Whether to replace existing files.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OutputError
        If one of the files exists and `overwrite` is false, or cannot be written.
    """
    for path in texts:
        refuse_to_overwrite(path, overwrite)
    with ExitStack() as renamed_at_the_end:
        for path, text in texts.items():
            temporary = renamed_at_the_end.enter_context(written_whole(path, overwrite))
            write_text(temporary, text)
    return list(texts)


def write_text(path: Path, text: str) -> None:
    """Write a text file; line ends are kept."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
