"""The families by name. A family is imported when it is first used."""

from __future__ import annotations

import importlib

from likewise.core.errors import did_you_mean
from likewise.families.base import Family

FAMILIES: dict[str, str] = {  # the module in this folder -> the class in it
    "autoencoder": "Autoencoder",
    "vae": "VAE",
    "gan": "GAN",
    "diffusion": "Diffusion",
    "flow": "Flow",
    "autoregressive": "Autoregressive",
    "mixture": "Mixture",
    "contrastive": "Contrastive",
    "trees": "Trees",
    "any_order": "AnyOrder",
}


def family_class(name: str) -> type[Family]:
    """The class of a family. Raises ValueError that names the nearest one."""
    if name not in FAMILIES:
        raise ValueError(did_you_mean("family", name, FAMILIES))
    return getattr(importlib.import_module(f"likewise.families.{name}"), FAMILIES[name])


def sampling_family_class(name: str) -> type[Family]:
    """The class of a family that can be sampled. Raises ValueError for others, and as family_class does."""
    cls = family_class(name)
    if not hasattr(cls, "sample"):
        raise ValueError(
            f"the family {name} draws nothing: it says what belongs together; "
            "`likewise evaluate RUN` measures that, Model.embed has its vectors"
        )
    return cls


def sampling_families() -> list[str]:
    """The families that can be sampled."""
    return [name for name in FAMILIES if hasattr(family_class(name), "sample")]
