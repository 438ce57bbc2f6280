"""The commands: one module each, with `run(argv) -> exit status`, imported by main.py when it is called."""

from __future__ import annotations
