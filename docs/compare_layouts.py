"""Figures of how packages are laid out: python docs/compare_layouts.py FOLDER [FOLDER ...] of their Python files."""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def figures(package: Path) -> dict[str, object]:
    """Files at the root, files in all, the longest, modules that import each other in a circle, documented names."""
    files = sorted(package.rglob("*.py"))
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    longest = max(lines, key=lambda file: lines[file])
    graph = {module_of(package, file): set(imports_of(package, file)) for file in files}
    public, documented, shaped = documentation(files)
    return {
        "files at the root": sum(1 for file in files if file.parent == package),
        "files": len(files),
        "longest file": f"{longest.relative_to(package)} ({lines[longest]})",
        "files above 500 lines": sum(count > 500 for count in lines.values()),
        "modules in circles": len(in_circles(graph)),
        "public names": public,
        "of them with a docstring": documented,
        "functions with arrays whose docstring has a shape": shaped,
    }


def module_of(package: Path, file: Path) -> str:
    """Dotted name from the package's root."""
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(package: Path, file: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions and for types."""
    here = file.relative_to(package.parent).parent.parts
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == package.name}
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level + 1]] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            if base and base[0] == package.name:
                for alias in node.names:
                    whole = package.parent.joinpath(*base, alias.name)
                    module = whole.with_suffix(".py").is_file() or whole.is_dir()
                    found.add(".".join([*base, alias.name] if module else base))
    return found - {module_of(package, file)}


def in_circles(graph: dict[str, set[str]]) -> set[str]:
    """Modules that can be reached from themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph.get(start, ()))
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph.get(module, ())
        return seen

    return {module for module in graph if module in reached(module)}


def documentation(files: list[Path]) -> tuple[int, int, int]:
    """Public functions, classes and methods; those with a docstring; those that state a shape, as ``(N, 3)``."""
    public = documented = shaped = 0
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        nodes: list[ast.stmt] = list(tree.body)
        nodes += [inner for node in tree.body if isinstance(node, ast.ClassDef) for inner in node.body]
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                text = ast.get_docstring(node) or ""
                public, documented = public + 1, documented + bool(text)
                shaped += "(" in text and any(
                    f"({letter}" in text for letter in ("n,", "N,", "P,", "3,", "S,", "k,", "...")
                )
    return public, documented, shaped


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        print(folder.name)
        for name, value in figures(folder.resolve()).items():
            print(f"  {name}: {value}")
