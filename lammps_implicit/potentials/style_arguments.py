"""Names of the coefficients of pair and bonded styles, in the order of LAMMPS' manual.

``-`` stands for what is no parameter: integers such as a multiplicity, and words. Cutoffs follow the names, and are no
parameters either.
"""

from __future__ import annotations

from collections.abc import Sequence

from lammps_implicit.potentials.commands import plain_style

NO_PARAMETER = "-"

_LJ, _BUCK, _MORSE, _FULL_MORSE = "epsilon sigma", "A rho C", "D0 alpha r0", "D0 alpha r0 lambda"

PAIR = {
    "atm": "- nu",
    "beck": "A B a alpha beta",
    "born": "A rho sigma C D",
    "born/gauss": "A0 alpha A1 beta r0",
    "buck": _BUCK,
    "buck/long": _BUCK,
    "buck/mdf": _BUCK,
    "buck6d/coul/gauss/dsf": "A rho C D alpha",
    "buck6d/coul/gauss/long": "A rho C D alpha",
    "colloid": "A sigma d1 d2",
    "cosine/squared": _LJ,
    "coul": "",
    "coul/cut/global": "",
    "coul/cut/soft": "lambda",
    "coul/diel": "epsilon_s rme sigma_e",
    "coul/exclude": "",
    "coul/long/soft": "lambda",
    "coul/shield": "lambda",
    "coul/slater": "",
    "coul/tt": "b c -",
    "gauss": "A B",
    "gauss/cut": "H rmh sigmah",
    "harmonic/cut": "k",
    "hbond/dreiding/lj": "- - epsilon sigma -",
    "hbond/dreiding/morse": "- - D0 alpha r0 -",
    "lennard/mdf": "A B",
    "lj/charmm": "epsilon sigma epsilon14 sigma14",
    "lj/charmmfsw": "epsilon sigma epsilon14 sigma14",
    "lj/charmm/coul/long/soft": "epsilon sigma lambda epsilon14 sigma14",
    "lj/class2": _LJ,
    "lj/cubic": _LJ,
    "lj/cut": _LJ,
    "lj/cut/sphere": "epsilon",
    "lj/cut/thole/long": "epsilon sigma alpha a",
    "lj/expand": "epsilon sigma delta",
    "lj/gromacs": _LJ,
    "lj/gromacs/coul/gromacs": _LJ,
    "lj/long": _LJ,
    "lj/mdf": _LJ,
    "lj/pirani": "alpha beta gamma rm epsilon",
    "lj/relres": "epsilon_fine sigma_fine epsilon_coarse sigma_coarse",
    "lj/sdk": "- epsilon sigma",
    "lj/sf": _LJ,
    "lj/smooth": _LJ,
    "lj/smooth/linear": _LJ,
    "lj/spica": "- epsilon sigma",
    "lj/switch3/coulgauss/long": "epsilon sigma gamma",
    "lj96/cut": _LJ,
    "mie/cut": "epsilon sigma gammaR gammaA",
    "mm3/switch3/coulgauss/long": "epsilon r0 gamma",
    "momb": "D0 alpha r0 C6 Rr",
    "morse": _MORSE,
    "morse/smooth/linear": _MORSE,
    "nm/cut": "E0 r0 n m",
    "nm/cut/split": "E0 r0 - -",
    "pedone": "D0 alpha r0 C0",
    "soft": "A",
    "thole": "alpha a",
    "tip4p": "",
    "tip4p/long/soft": "lambda",
    "ufm": _LJ,
    "wf/cut": "epsilon sigma - -",
    "yukawa": "A",
    "yukawa/colloid": "A",
    "zbl": "Zi Zj",
    "zero": "",
}
"""Coefficients of pair styles; variants with other Coulomb forces have the same: see `pair_arguments`."""

_COULOMB = (
    "/coul/cut",
    "/coul/debye",
    "/coul/dsf",
    "/coul/long",
    "/coul/msm",
    "/coul/wolf",
    "/coul/charmm",
    "/coul/charmm/implicit",
    "/coul/charmmfsh",
    "/tip4p/cut",
    "/tip4p/long",
    "/dipole/cut",
    "/dipole/long",
    "/dipole/sf",
    "/cut",
    "/long",
    "/debye",
    "/dsf",
    "/msm",
    "/wolf",
)
"""Ends of the names of pair styles with Coulomb forces, which have no coefficients of their own."""

_ALIKE = ("/cs", "/dielectric")
"""Further ends of names: variants for core-shell models and for boundaries of dielectrics."""

BOND = {
    "class2": "r0 K2 K3 K4",
    "fene": "K R0 epsilon sigma",
    "fene/expand": "K R0 epsilon sigma delta",
    "fene/nm": "K R0 E0 r0 n m",
    "gromos": "K r0",
    "harmonic": "K r0",
    "harmonic/restrain": "K",
    "harmonic/shift": "Um r0 rc",
    "harmonic/shift/cut": "Um r0 rc",
    "mm3": "K r0",
    "morse": "D0 alpha r0",
    "nonlinear": "epsilon r0 lambda",
    "quartic": "K B1 B2 - U0",  # without its cutoff
    "special": "- -",
    "zero": "-",
}

ANGLE = {
    "charmm": "K theta0 Kub rub",
    "class2": "theta0 K2 K3 K4",
    "class2 ba": "N1 N2 r1 r2",
    "class2 bb": "M r1 r2",
    "class2/p6": "theta0 K2 K3 K4 K5 K6",
    "class2/p6 ba": "N1 N2 r1 r2",
    "class2/p6 bb": "M r1 r2",
    "cosine": "K",
    "cosine/buck6d": "K - theta0",
    "cosine/delta": "K theta0",
    "cosine/periodic": "C - -",
    "cosine/shift": "Umin theta0",
    "cosine/shift/exp": "Umin theta0 a",
    "cosine/squared": "K theta0",
    "cosine/squared/restricted": "K theta0",
    "cross": "KSS KBS0 KBS1 r12 r32 theta0",
    "dipole": "K gamma0",
    "fourier": "K C0 C1 C2",
    "fourier/simple": "K c n",
    "harmonic": "K theta0",
    "mm3": "K theta0",
    "quartic": "theta0 K2 K3 K4",
    "sdk": "K theta0",
    "spica": "K theta0",
    "zero": "-",
}

DIHEDRAL = {
    "charmm": "K - - -",
    "charmmfsw": "K - - -",
    "class2": "K1 phi1 K2 phi2 K3 phi3",
    "class2 aat": "M theta1 theta2",
    "class2 at": "D1 D2 D3 E1 E2 E3 theta1 theta2",
    "class2 bb13": "N r1 r3",
    "class2 ebt": "B1 B2 B3 C1 C2 C3 r1 r3",
    "class2 mbt": "A1 A2 A3 r2",
    "cosine/shift/exp": "Umin phi0 a",
    "cosine/squared/restricted": "K phi0",
    "harmonic": "K - -",
    "helix": "A B C",
    "multi/harmonic": "A1 A2 A3 A4 A5",
    "opls": "K1 K2 K3 K4",
    "quadratic": "K phi0",
    "zero": "",
}

IMPROPER = {
    "class2": "K chi0",
    "class2 aa": "M1 M2 M3 theta1 theta2 theta3",
    "cossq": "K chi0",
    "cvff": "K - -",
    "distance": "K2 K4",
    "distharm": "K d0",
    "fourier": "K C0 C1 C2 -",
    "harmonic": "K chi0",
    "inversion/harmonic": "K omega0",
    "ring": "K chi0",
    "sqdistharm": "K d0",
    "umbrella": "K omega0",
    "zero": "",
}

_SERIES = {
    ("dihedral", "fourier"): (1, "K{} - phi{}"),
    ("dihedral", "spherical"): (1, "C{} - a{} u{} - b{} v{} - c{} w{}"),
    ("dihedral", "nharmonic"): (1, "A{}"),
    ("bond", "gaussian"): (2, "A{} w{} r{}"),
    ("angle", "gaussian"): (2, "A{} w{} theta{}"),
}
"""Styles whose coefficients are a series: how many words come before it, and what each member has."""

_BONDED = {"bond": BOND, "angle": ANGLE, "dihedral": DIHEDRAL, "improper": IMPROPER}


def pair_arguments(style: str) -> tuple[str, ...] | None:
    """Names of the coefficients of a pair style; None if they are not known.

    Those of ``buck/coul/long/cs`` are those of ``buck``, those of ``lj/cut/coul/long/soft`` those of ``lj/cut`` and
    ``lambda``.

    Parameters
    ----------
    style : str
        With or without the suffix of an accelerated variant and the number of a repeated style.
    """
    style = plain_style(style)
    for end in _ALIKE:
        style = style.removesuffix(end)
    if style not in PAIR and style.endswith("/soft"):
        hard = pair_arguments(style.removesuffix("/soft"))
        return None if hard is None else (*hard, "lambda")
    roots = [style, *(style.removesuffix(end) for end in _COULOMB if style.endswith(end))]
    found = next((PAIR[root] for root in roots if root in PAIR), None)
    return None if found is None else tuple(found.split())


def bonded_arguments(kind: str, style: str, values: Sequence[str]) -> tuple[str, ...] | None:
    """Names of the coefficients of a bonded style; None if they are not known.

    Parameters
    ----------
    kind : str
        ``bond``, ``angle``, ``dihedral`` or ``improper``.
    style : str
        Sub-style, ``class2 bb`` with its keyword.
    values : sequence of str
        What follows it in the command.
    """
    name, space, keyword = style.partition(" ")
    style = plain_style(name) + space + keyword
    if (kind, style) in _SERIES:
        before, member = _SERIES[kind, style]
        count = (len(values) - before) // len(member.split())
        names = " ".join(member.replace("{}", str(number)) for number in range(1, count + 1))
        return (*[NO_PARAMETER] * before, *names.split())
    found = _BONDED[kind].get(style)
    return None if found is None else tuple(found.split())
