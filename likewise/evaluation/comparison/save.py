"""A comparison as files: report.html, which stands alone, report.png and report.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from likewise.core.files import atomic_write, check_writable
from likewise.core.provenance import KEY, is_output, is_run_folder, provenance

PAGE, FIGURE, VALUES = "report.html", "report.png", "report.json"


def check_report_folder(folder: Path) -> None:
    """Raise ValueError if the folder has a file of these names that no comparison wrote, OSError if it is not writable."""
    compared = folder.is_dir() and any(map(is_run_folder, folder.iterdir()))  # reports of 0.1.0 have no mark
    for name in (PAGE, FIGURE, VALUES):
        check_writable(folder / name)
        if (folder / name).exists() and not (is_output(folder / name) or compared):
            raise ValueError(
                f"{folder} has a file {name} that no comparison wrote and that would be replaced; give another --out"
            )


def save_report(folder: Path, page: str, figure: bytes, values: dict[str, Any]) -> None:
    """Write the three files. Raises OSError."""
    text = json.dumps({KEY: provenance(), **values}, indent=1, ensure_ascii=False) + "\n"
    atomic_write(folder / VALUES, text.encode())
    atomic_write(folder / FIGURE, figure)
    atomic_write(folder / PAGE, page.encode())
