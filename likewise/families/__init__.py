"""The families by name. A family's file is imported when it is asked for."""

from __future__ import annotations

import importlib

from likewise.families.base import Family
from likewise.formula import unknown

FAMILIES: dict[str, str] = {  # the module in this folder -> the class in it
    "autoencoder": "Autoencoder",
    "vae": "VAE",
    "gan": "GAN",
    "diffusion": "Diffusion",
    "flow": "Flow",
    "autoregressive": "Autoregressive",
    "mixture": "Mixture",
}


def family_class(name: str) -> type[Family]:
    """The class of a family. Raises ValueError that names the nearest one."""
    if name not in FAMILIES:
        raise ValueError(unknown("family", name, FAMILIES))
    return getattr(importlib.import_module(f"likewise.families.{name}"), FAMILIES[name])
