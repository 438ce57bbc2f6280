"""A comparison of families as files: report.html, which stands alone, report.png and report.json."""

from __future__ import annotations

import json
from pathlib import Path

from likewise.core.files import atomic_write
from likewise.evaluation.comparison import figures
from likewise.evaluation.comparison.html_report import html
from likewise.evaluation.comparison.results import Comparison


def save_report(comparison: Comparison, folder: Path) -> None:
    """Write the three files. Raises OSError."""
    text = json.dumps(comparison.to_json(), indent=1, ensure_ascii=False) + "\n"
    page, picture = html(comparison), figures.report(comparison)
    atomic_write(folder / "report.json", text.encode())
    atomic_write(folder / "report.png", picture)
    atomic_write(folder / "report.html", page.encode())
