"""A comparison as files: report.html, which stands alone, report.png and report.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from likewise.core.files import atomic_write
from likewise.core.provenance import KEY, provenance

PAGE, FIGURE, VALUES = "report.html", "report.png", "report.json"


def save_report(folder: Path, page: str, figure: bytes, values: dict[str, Any]) -> None:
    """Write the three files. Raises OSError."""
    text = json.dumps({KEY: provenance(), **values}, indent=1, ensure_ascii=False) + "\n"
    atomic_write(folder / VALUES, text.encode())
    atomic_write(folder / FIGURE, figure)
    atomic_write(folder / PAGE, page.encode())
