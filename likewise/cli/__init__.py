"""The command line: `likewise COMMAND ...`.

Each command is a module in commands/ with `run(argv) -> exit status`, named in COMMANDS of main.py. What several
commands share lies here: options from signatures, tables, requests for samples, output, progress of training.
"""

from __future__ import annotations

from likewise.cli.main import main

__all__ = ["main"]
