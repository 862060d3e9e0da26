"""Layouts of potential files of entries: for some elements, a fixed list of numbers (LAMMPS documentation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Layout:
    """What stands in an entry of a potential file, after its elements.

    Attributes
    ----------
    names : tuple of str
        Names of the numbers, in order; empty for words that are never parameters.
    elements : int
        Number of elements.
    pair : frozenset of str
        Numbers that are used only in entries whose second and third element are the same.
    alone : frozenset of str
        Numbers that are used only in entries of one element.
    on_request : frozenset of str
        Cutoffs, exponents and flags, which are offered only if asked for.
    signed : frozenset of str
        Numbers that may be negative. All others are offered only if asked for where they are zero: LAMMPS takes nothing
        below, and zero means that a term is left out.
    needs : mapping of str to tuple of str
        Numbers that must not be zero for one to have an effect.
    pair_twins : mapping of str to str
        Numbers of an entry i-j-j that belong to the pair: LAMMPS takes them from i-j-j or from j-i-i, depending on ids,
        so both must be the same. The name in the one entry, and in the other.
    triple_twins : frozenset of str
        Numbers of an entry i-j-k that must be those of i-k-j, since the order of the two neighbours is arbitrary.
    tail : bool
        Whether lines with fewer elements follow, which are kept.
    """

    names: tuple[str, ...]
    elements: int = 3
    pair: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()
    on_request: frozenset[str] = frozenset()
    signed: frozenset[str] = frozenset()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pair_twins: Mapping[str, str] = field(default_factory=dict)
    triple_twins: frozenset[str] = frozenset()
    tail: bool = False


def _words(words: str) -> tuple[str, ...]:
    return tuple(words.split())


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _same(words: str) -> dict[str, str]:
    return {word: word for word in words.split()}


_SW = Layout(
    _words("epsilon sigma a lambda gamma costheta0 A B p q tol"),
    signed=_set("costheta0"),
    pair=_set("sigma a gamma A B p q tol"),
    on_request=_set("p q tol"),
    needs=dict.fromkeys(_words("sigma a lambda gamma A"), ("epsilon",))
    | {"costheta0": ("lambda", "epsilon"), "B": ("A", "epsilon")},
    pair_twins=_same("epsilon sigma a A B p q"),
    triple_twins=_set("epsilon lambda costheta0"),
)

_TERSOFF_NAMES = "gamma lambda3 c d costheta0 n beta lambda2 B R D lambda1 A"
"""After m, which is 1 or 3."""

_TERSOFF_NEEDS = {
    "lambda3": ("gamma",),
    "c": ("gamma",),
    "d": ("c", "gamma"),
    "costheta0": ("c", "gamma"),
    "n": ("beta", "B"),
    "beta": ("B",),
    "lambda2": ("B",),
    "lambda1": ("A",),
}

_TERSOFF = Layout(
    ("", *_words(_TERSOFF_NAMES)),
    pair=_set("n beta lambda2 B lambda1 A"),
    on_request=_set("R D"),
    signed=_set("costheta0"),
    needs=_TERSOFF_NEEDS,
    pair_twins=_same("lambda1 A"),
)

_TERSOFF_ZBL = Layout(
    (*_TERSOFF.names, "Z_i", "Z_j", "ZBLcut", "ZBLexpscale"),
    pair=_TERSOFF.pair | _set("Z_i Z_j ZBLcut ZBLexpscale"),
    signed=_TERSOFF.signed,
    on_request=_TERSOFF.on_request | _set("Z_i Z_j ZBLcut ZBLexpscale"),
    needs=_TERSOFF_NEEDS,
    pair_twins={**_TERSOFF.pair_twins, "Z_i": "Z_j", "Z_j": "Z_i", **_same("ZBLcut ZBLexpscale")},
)

_TERSOFF_MOD_NAMES = "alpha h eta beta_ters lambda2 B R D lambda1 A n c1 c2 c3 c4 c5"
"""After beta, which is 1 or 3."""

_TERSOFF_MOD = Layout(
    ("", *_words(_TERSOFF_MOD_NAMES)),
    pair=_set("eta lambda2 B lambda1 A n"),
    on_request=_set("beta_ters R D"),
    signed=_set("h c1 c2 c3 c4 c5 c0"),
    pair_twins=_same("lambda1 A"),
)

_TERSOFF_MOD_C = Layout(
    (*_TERSOFF_MOD.names, "c0"),
    pair=_TERSOFF_MOD.pair | {"c0"},
    on_request=_TERSOFF_MOD.on_request,
    signed=_TERSOFF_MOD.signed,
    pair_twins=_same("lambda1 A c0"),
)

_VASHISHTA = Layout(
    _words("H eta Zi Zj lambda1 D lambda4 W rc B gamma r0 C costheta0"),
    pair=_set("H eta Zi Zj lambda1 D lambda4 W rc gamma r0"),
    on_request=_set("eta rc"),
    signed=_set("Zi Zj costheta0"),
    needs={
        "lambda1": ("Zi", "Zj"),
        "lambda4": ("D",),
        "eta": ("H",),
        "B": ("r0",),
        "gamma": ("r0", "B"),
        "r0": ("B",),
        "C": ("r0", "B"),
        "costheta0": ("r0", "B"),
    },
    pair_twins={**_same("H eta lambda1 D lambda4 W rc"), "Zi": "Zj", "Zj": "Zi"},
    triple_twins=_set("B C costheta0"),
)

_EDIP = Layout(
    _words("A B cutoffA cutoffC alpha beta eta gamma lambda mu rho sigma Q0 u1 u2 u3 u4"),
    pair=_set("A B cutoffA cutoffC alpha beta gamma rho sigma"),
    triple_twins=_set("eta lambda mu Q0 u1 u2 u3 u4"),
)

_COMB_CHARGES = (
    "omega_a omega_b omega_c omega_d QL1 QU1 DL1 DU1 QL2 QU2 DL2 DU2 chi dj dk dl dm esm cmn1 cmn2 cml1 cml2"
)

_COMB = Layout(
    (
        "",
        *_words("c d h n beta lambda21 lambda22 B1 B2 R D lambda11 lambda12 A1 A2 KLP1 KLP3 KLP6 A123 Aconf addrep"),
        *_words(_COMB_CHARGES),
        "coulcut",
        "hfocor",
    ),
    pair=_set("n beta B1 B2 lambda11 lambda12 A1 A2 addrep DL1 DU1 DL2 DU2 esm cmn1 cmn2 cml1 cml2"),
    alone=_set("chi dj dk dl dm"),
    on_request=_set("R D coulcut hfocor QL1 QU1 QL2 QU2 omega_a omega_b omega_c omega_d"),
    signed=_set("h chi dj dk dl dm"),
    needs={"Aconf": ("A123",), "cml1": ("cmn1",), "cml2": ("cmn2",)},
)

LAYOUTS: Mapping[str, Layout] = {
    "sw": _SW,
    "sw/mod": _SW,
    "tersoff": _TERSOFF,
    "tersoff/mod": _TERSOFF_MOD,
    "tersoff/mod/c": _TERSOFF_MOD_C,
    "tersoff/zbl": _TERSOFF_ZBL,
    "vashishta": _VASHISHTA,
    "vashishta/table": _VASHISHTA,
    "edip": _EDIP,
    "edip/multi": _EDIP,
    "comb": _COMB,
    "gw": _TERSOFF,
    "gw/zbl": _TERSOFF_ZBL,
    "extep": replace(_TERSOFF, tail=True),
    "nb3b/harmonic": Layout(("K", "theta0", "cutoff"), on_request=_set("cutoff"), needs={"theta0": ("K",)}),
    "nb3b/screened": Layout(("K", "theta0", "rho", "cutoff"), on_request=_set("cutoff"), needs={"theta0": ("K",)}),
}
"""Layout of the files of a pair style."""
