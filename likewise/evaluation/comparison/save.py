"""A comparison as files: report.html, which stands alone, report.png and report.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from likewise.models.checkpoint import atomic_write

PAGE, FIGURE, VALUES = "report.html", "report.png", "report.json"


def save_report(folder: Path, page: str, figure: bytes, values: dict[str, Any]) -> None:
    """Write the three files. Raises RunError if the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    atomic_write(folder / VALUES, lambda path: path.write_text(text, encoding="utf-8"))
    atomic_write(folder / FIGURE, lambda path: path.write_bytes(figure))
    atomic_write(folder / PAGE, lambda path: path.write_text(page, encoding="utf-8"))
