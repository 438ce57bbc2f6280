"""Serve the models of a folder, and open the studio in a browser."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.cli.commands.serve import run_server


def run(argv: Sequence[str]) -> int:
    """`likewise studio [FOLDER]`."""
    return run_server("studio", __doc__, argv, open_page=True)
