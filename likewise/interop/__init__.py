"""Folders of other libraries, written and read. Add diffusers, ONNX ... in a file each."""

from __future__ import annotations

from likewise.interop.transformers_export import to_transformers
from likewise.interop.transformers_import import from_transformers

__all__ = ["from_transformers", "to_transformers"]
