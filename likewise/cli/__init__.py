"""The command line: `likewise COMMAND ...`.

Each command is a module in commands/ with `run(argv) -> exit status`, named in COMMANDS of main.py; modules there that
begin with an underscore have what several commands share.
"""

from __future__ import annotations

from likewise.cli.main import main

__all__ = ["main"]
