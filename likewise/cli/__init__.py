"""The command line: `likewise COMMAND ...`. One file a command in commands/, with `run(argv) -> exit status`.

To add one, write its file and name it in COMMANDS of main.py.
"""

from __future__ import annotations

from likewise.cli.main import main

__all__ = ["main"]
