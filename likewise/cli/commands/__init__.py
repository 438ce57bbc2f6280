"""The commands, a file each, with `run(argv) -> exit status`; main.py imports the one that is called."""

from __future__ import annotations
