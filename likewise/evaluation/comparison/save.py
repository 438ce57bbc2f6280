"""A comparison of families as files: report.html, which stands alone, report.png and report.json."""

from __future__ import annotations

import json
from pathlib import Path

from likewise.evaluation.comparison import figures
from likewise.evaluation.comparison.html_report import html
from likewise.evaluation.comparison.results import Comparison
from likewise.models.checkpoint import atomic_write


def save_report(comparison: Comparison, folder: Path) -> None:
    """Write the three files. Raises RunError if the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(comparison.to_json(), indent=1, ensure_ascii=False) + "\n"
    page, picture = html(comparison), figures.report(comparison)
    atomic_write(folder / "report.json", lambda path: path.write_text(text, encoding="utf-8"))
    atomic_write(folder / "report.png", lambda path: path.write_bytes(picture))
    atomic_write(folder / "report.html", lambda path: path.write_text(page, encoding="utf-8"))
