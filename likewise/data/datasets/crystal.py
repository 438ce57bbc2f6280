"""Crystals as text: the lattice a b c alpha beta gamma, then a line for each site: element and coordinates.

    4.145 4.145 9.496 90.00 90.00 120.00
    Hg 0.280 0.280 0.333
    S 0.511 0.511 0.833

Lengths are in Angstrom with 3 digits, angles in degrees with 2, coordinates are fractions of the cell with 3,
from 0.000 to 0.999. A structure is a dictionary in the form of pymatgen's `Structure.as_dict` (Ong et al., 2013),
of which `lattice` (a, b, c, alpha, beta, gamma) and `sites` (species, abc) are read and written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LENGTHS, ANGLES = ("a", "b", "c"), ("alpha", "beta", "gamma")
CELL = re.compile(r"(\d{1,3}\.\d{3} ){3}\d{1,3}\.\d\d \d{1,3}\.\d\d \d{1,3}\.\d\d")
SITE = re.compile(r"[A-Z][a-z]?( 0\.\d{3}){3}")
SYMBOLS = re.findall(
    r"[A-Z][a-z]?",
    (
        "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTcRuRhPdAgCdInSnSb"
        "TeIXeCsBaLaCePrNdPmSmEuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBiPoAtRnFrRaAcThPaUNpPuAmCmBkCfEsFmMdNoLr"
    ),
)


def crystal_text(structure: Mapping[str, Any]) -> str:
    """The text of a structure. Raises ValueError for a site with several elements or partial occupancy.

    >>> site = {"species": [{"element": "Po", "occu": 1.0}], "abc": [0.9999, 0.5, -0.25]}
    >>> cell = {"a": 3.34, "b": 3.34, "c": 3.34, "alpha": 90, "beta": 90, "gamma": 90}
    >>> print(crystal_text({"lattice": cell, "sites": [site]}))
    3.340 3.340 3.340 90.00 90.00 90.00
    Po 0.000 0.500 0.750
    """
    cell = structure["lattice"]
    numbers = [*(f"{cell[name]:.3f}" for name in LENGTHS), *(f"{cell[name]:.2f}" for name in ANGLES)]
    lines = [" ".join(numbers)]
    for site in structure["sites"]:
        if len(site["species"]) != 1 or site["species"][0]["occu"] != 1:
            raise ValueError(f"a site has {site['species']}; only sites of one whole atom can be written")
        coordinates = (f"0.{round(1000 * x) % 1000:03d}" for x in site["abc"])
        lines.append(" ".join([site["species"][0]["element"], *coordinates]))
    return "\n".join(lines)


def read_crystal(text: str) -> dict[str, Any]:
    """The inverse of `crystal_text`. Raises ValueError that names the first invalid line.

    >>> read_crystal("3.340 3.340 3.340 90.00 90.00 90.00\\nPo 0.000 0.500 0.750")["sites"][0]["abc"]
    [0.0, 0.5, 0.75]
    """
    first, *rest = text.split("\n")
    if not CELL.fullmatch(first):
        raise ValueError(
            f"{first!r} is not six numbers a b c alpha beta gamma, such as "
            "3.340 3.340 3.340 90.00 90.00 90.00"
        )
    if not rest:
        raise ValueError("there is no line of a site after the lattice")
    sites = []
    for line in rest:
        element, *coordinates = line.split(" ")
        if not SITE.fullmatch(line) or element not in SYMBOLS:
            raise ValueError(f"{line!r} is not an element and three fractions, such as Po 0.000 0.500 0.750")
        sites.append({"species": [{"element": element, "occu": 1.0}], "abc": [float(x) for x in coordinates]})
    return {"lattice": dict(zip(LENGTHS + ANGLES, map(float, first.split()), strict=True)), "sites": sites}
