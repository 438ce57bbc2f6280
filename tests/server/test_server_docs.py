"""The examples of docs/serving.md run as they stand."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import LiveServer

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
BLOCK = re.compile(r"(<!-- not run:[^\n]*-->\n)?```(sh|python)\n(.*?)```", re.DOTALL)


def blocks(language: str) -> list[str]:
    """The examples in a language that are run."""
    return [code for skip, kind, code in BLOCK.findall(PAGE.read_text()) if kind == language and not skip]


def test_examples_in_python(live_server: LiveServer) -> None:
    names: dict[str, Any] = {"ADDRESS": live_server.address}
    output = io.StringIO()
    assert len(blocks("python")) >= 3
    with contextlib.redirect_stdout(output):
        for code in blocks("python"):
            exec(code, names)
    assert "'emoji'" in output.getvalue() and "event: done" in output.getvalue()
    assert names["training"].status == "succeeded" and names["training"].fine_tuned_model == "of-a-table"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_examples_with_curl(live_server: LiveServer, tmp_path: Path) -> None:
    assert len(blocks("sh")) >= 2
    for code in blocks("sh"):
        script = f"set -euo pipefail\nADDRESS={live_server.address}\n{code}"
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
        )
        assert done.returncode == 0 and '"error"' not in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "apple.png").read_bytes().startswith(b"\x89PNG")
    assert '"red apple"' in done.stdout
