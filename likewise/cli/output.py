"""Where samples go: lines on the terminal, a grid, an animation, JSON lines, or a folder of files."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from likewise.cli.requests import Request
from likewise.core.files import atomic_write
from likewise.modalities.base import Row
from likewise.models.base import TypedDistribution
from likewise.viz import images

SUFFIXES = (".png", ".jsonl")


@dataclass(frozen=True)
class Samples:
    """Samples of one command, those of one prompt after those of another, and how they were made.

    rows        the samples
    provenance  of each, see Request.provenance
    captions    of each in a grid, "" for none
    summary     the provenance of all, for a file that has them all
    seconds     that sampling took
    prompts     number of prompts, each a line of a grid
    start       the image that all start from, shown before each line
    """

    rows: Sequence[Row]
    provenance: Sequence[Row]
    captions: Sequence[str]
    summary: Row
    seconds: float
    prompts: int = 1
    start: PIL.Image.Image | None = None


def output_path(model: TypedDistribution, out: str | None, default: str, *suffixes: str) -> Path | None:
    """Where samples go, None to print them; `suffixes` are those of further image files that can be written.

    Raises ValueError for a name whose format cannot hold them.
    """
    visual, formula = images.visual_columns(model.columns, model.targets), str(model.formula)
    if out is None:
        return Path(default) if visual else None
    path, allowed = Path(out), (*SUFFIXES, *suffixes)
    if out.endswith("/") or path.is_dir():
        if path.suffix in allowed:
            raise ValueError(f"--out {out}: this is a folder; leave {path.suffix} out of its name")
    elif path.suffix in (".png", *suffixes) and not visual:
        raise ValueError(
            f"--out {out}: {formula!r} has no target that is a picture; write a name that ends in .jsonl"
        )
    elif path.suffix == ".jsonl" and visual == model.targets:
        raise ValueError(
            f"--out {out}: all targets of {formula!r} are pictures; write a name that ends in .png, or "
            f"a folder: {path.stem}/"
        )
    elif path.suffix not in allowed:
        raise ValueError(
            f"--out {out}: write a name that ends in {' or '.join(allowed)}, or a folder: {out}/"
        )
    return path


def write_samples(request: Request, samples: Samples, out: Path | None) -> None:
    """Print the samples, or write them in the format that the name `out` stands for."""
    model = request.model
    if out is None:
        print(_json_lines(model, samples.rows, samples.provenance), end="")
        return
    if out.suffix == ".gif":
        names = images.visual_columns(model.columns, model.targets)
        frames = [images.sheet(model.columns, [row], names, [""], 1) for row in samples.rows]
        images.save_animation(frames, out, _summary(samples))
    elif out.suffix == ".png":
        _write_grid(model, samples, out)
    elif out.suffix == ".jsonl":
        atomic_write(out, _json_lines(model, samples.rows, samples.provenance).encode())
    else:
        _write_folder(model, samples, out)
    print(
        f"{request.args.out or out}: {len(samples.rows)} samples in {samples.seconds:.1f} s, "
        f"model loaded in {request.load_seconds:.1f} s"
    )


def _summary(samples: Samples) -> Row:
    return {name: value for name, value in samples.summary.items() if name != "index"}


def _write_grid(model: TypedDistribution, samples: Samples, out: Path) -> None:
    """One image: a line for each prompt, with the values of other targets below."""
    names = images.visual_columns(model.columns, model.targets)
    others = [view for view in model.formula.targets if view.name not in names]
    cells = list(samples.rows)
    captions = [
        ": ".join(filter(None, (caption, images.caption(row, others))))
        for row, caption in zip(samples.rows, samples.captions, strict=True)
    ]
    across = len(cells) // samples.prompts
    if samples.start is not None:
        for line in range(len(cells) - across, -1, -across):
            cells.insert(line, {names[0]: samples.start})
            captions.insert(line, "given")
    sheet = images.sheet(model.columns, cells, names, captions, len(cells) // samples.prompts)
    images.save(sheet, out, _summary(samples))


def _write_folder(model: TypedDistribution, samples: Samples, folder: Path) -> None:
    """A file for each image of a sample, of other samples for each target, and samples.jsonl that lists them."""
    names = images.visual_columns(model.columns, model.targets) or model.targets
    parts, lines = column_stems(names), []
    for row, about, stem in zip(samples.rows, samples.provenance, _stems(samples.provenance), strict=True):
        for name in names:
            column = model.columns[name]
            path = folder / f"{stem}{f'-{parts[name]}' if len(names) > 1 else ''}{column.suffix}"
            atomic_write(path, column.dump(row[name], about))
            lines.append(_json_lines(model, [row], [{"file": path.name, "column": name, **about}]))
    atomic_write(folder / "samples.jsonl", "".join(lines).encode())


def column_stems(names: Sequence[str]) -> dict[str, str]:
    """Names of columns -> parts of file names, all different.

    >>> column_stems(["image[size=32]", "a/b", "a:b"])
    {'image[size=32]': 'image[size=32]', 'a/b': 'a-b', 'a:b': 'a-b.2'}
    """
    stems: dict[str, str] = {}
    for name in names:
        stem = re.sub(r"[^\w@\[\]=, .-]", "-", name)[:60].strip(". ") or "column"
        numbered = itertools.chain([stem], (f"{stem}.{n}" for n in itertools.count(2)))
        used = {other.lower() for other in stems.values()}
        stems[name] = next(s for s in numbered if s.lower() not in used)
    return stems


def _stems(provenance: Sequence[Row]) -> Iterator[str]:
    """File names from prompt and index: red-bar-0, red-bar-1; of another prompt with that name red-bar.2-0."""
    counts: dict[str, int] = {}
    for about in provenance:
        slug = re.sub(r"\W+", "-", "-".join(about["sources"].values()).lower()).strip("-")[:60] or "sample"
        counts[slug] = counts.get(slug, 0) + (about["index"] == 0)
        yield f"{slug}{f'.{counts[slug]}' if counts[slug] > 1 else ''}-{about['index']}"


def _json_lines(model: TypedDistribution, rows: Sequence[Row], provenance: Sequence[Row]) -> str:
    """A line of JSON for each sample: its provenance, and its targets except images."""
    visual = images.visual_columns(model.columns, model.targets)
    names = [name for name in model.targets if name not in visual]
    lines = ({**about, **{n: row[n] for n in names}} for row, about in zip(rows, provenance, strict=True))
    return "".join(json.dumps(line, ensure_ascii=False, default=np.ndarray.tolist) + "\n" for line in lines)
