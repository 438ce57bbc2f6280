"""Where samples go: lines on the terminal, a grid, an animation, JSON lines, or a folder of files."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image

from likewise.cli.destination import (
    file_to_write,
    require_no_column_of_that_name,
    require_unused_files,
)
from likewise.cli.requests import Request
from likewise.core.files import atomic_write, check_writable
from likewise.core.provenance import KEY, MANIFEST, is_output, manifest_lines
from likewise.data.table_writer import ENDINGS
from likewise.modalities.base import Row
from likewise.models.base import TypedDistribution
from likewise.viz import images

SUFFIXES = (".png", ".jsonl")
_TABLES = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
MAX_SLUG = 60  # characters of a file name that say what a sample was made from


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


def output_path(request: Request, default: str, provenance: Sequence[Row], *suffixes: str) -> Path | None:
    """Where samples with this provenance go, None to print them.

    default   the file, unless --out names another
    suffixes  those of further image files that can be written

    Raises ValueError for a name whose format cannot hold them, or that is in use already, and OSError if nothing
    can be written there: call it before sampling.
    """
    model, out, overwrite = request.model, request.args.out, request.args.overwrite
    visual = images.visual_columns(model.columns, model.targets)
    if out is None and visual:
        return file_to_write(None, default, overwrite)
    path = None if out is None else Path(out)
    if path is None or path.suffix not in (".png", *suffixes):
        require_no_column_of_that_name(name for name in model.targets if name not in visual)
    if path is None or out is None:
        return None
    _check_format(model, out, suffixes)
    if not is_folder(out):
        return file_to_write(path, default, overwrite)
    files = [file for names in _files(model, path, provenance) for file in names.values()]
    for file in files[:1]:
        check_writable(file)
    if not overwrite:
        require_unused_files(files, "--seed or --out")
        if (path / MANIFEST).exists() and not is_output(path / MANIFEST):
            raise ValueError(
                f"{path / MANIFEST} is no list of samples that can be extended; give another --out"
            )
    return path


def is_folder(out: str | Path) -> bool:
    """Whether a name stands for a folder."""
    return str(out).endswith("/") or Path(out).is_dir()


def _check_format(model: TypedDistribution, out: str, suffixes: Sequence[str]) -> None:
    """Raise ValueError for a name whose format cannot hold samples of the model."""
    visual, formula = images.visual_columns(model.columns, model.targets), str(model.formula)
    path, allowed = Path(out), (*SUFFIXES, *suffixes)
    if is_folder(out):
        if path.suffix in allowed:
            raise ValueError(f"--out {out}: this is a folder; leave {path.suffix} out of its name")
    elif path.suffix in (".png", *suffixes) and not visual:
        raise ValueError(
            f"--out {out}: {formula!r} has no target that is a picture; write a name that ends in {_TABLES}"
        )
    elif path.suffix == ".jsonl" and visual == model.targets:
        raise ValueError(
            f"--out {out}: all targets of {formula!r} are pictures; write a name that ends in .png, or "
            f"a folder: {path.stem}/"
        )
    elif path.suffix not in allowed:
        endings = " or ".join(allowed) if visual else _TABLES
        raise ValueError(f"--out {out}: write a name that ends in {endings}, or a folder: {out}/")


def write_samples(request: Request, samples: Samples, out: Path | None) -> None:
    """Print the samples, or write them in the format that the name `out` stands for."""
    model = request.model
    if out is None:
        has_all = "utf" in (sys.stdout.encoding or "").lower()
        print(_json_lines(model, samples.rows, samples.provenance, ascii_only=not has_all), end="")
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
    """A file for each image of a sample, of other samples for each target, and samples.jsonl, which lists them."""
    lines: dict[str, str] = {}
    try:
        for row, about, files in zip(
            samples.rows, samples.provenance, _files(model, folder, samples.provenance), strict=True
        ):
            for name, path in files.items():
                atomic_write(path, model.columns[name].dump(row[name], about))
                lines[path.name] = _json_lines(model, [row], [{**about, "file": path.name, "column": name}])
    finally:  # also of those that were written before the disk was full
        extend_manifest(folder, lines)


def extend_manifest(folder: Path, lines: Mapping[str, str]) -> None:
    """Add lines, by the files that they describe, to samples.jsonl; lines of files that are gone are left out."""
    kept = [line for file, line in manifest_lines(folder) if file not in lines and (folder / file).is_file()]
    atomic_write(folder / MANIFEST, "".join([*kept, *lines.values()]).encode())


def _files(model: TypedDistribution, folder: Path, provenance: Sequence[Row]) -> Iterator[dict[str, Path]]:
    """The files of each sample in a folder, by target."""
    names = images.visual_columns(model.columns, model.targets) or model.targets
    parts = column_stems(names)
    for stem in _stems(provenance):
        yield {
            name: folder / f"{stem}{f'-{parts[name]}' if len(names) > 1 else ''}{model.columns[name].suffix}"
            for name in names
        }


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
    """File names from prompt, seed and index: red-bar-seed0-1; of another prompt of that name red-bar.2-seed0-1."""
    counts: dict[str, int] = {}
    for about in provenance:
        slug = _slug(about)
        counts[slug] = counts.get(slug, 0) + (about["index"] == 0)
        number = f".{counts[slug]}" if counts[slug] > 1 else ""
        seeds = "-".join(map(str, dict.fromkeys(about["seeds"]))) if "seeds" in about else about["seed"]
        yield f"{slug}{number}-seed{seeds}-{about['index']}"


def _slug(about: Row) -> str:
    """What a sample was made from, as a part of a file name."""
    picture, prompt, to = about.get("picture"), about.get("prompt"), about.get("to")
    words = [
        *([Path(picture).stem] if picture else []),
        *about["sources"].values(),
        *(["to", *to.values()] if to and to != about["sources"] else []),
        *about.get("known", {}).values(),
        *([prompt] if isinstance(prompt, str) else []),
    ]
    slug = re.sub(r"\W+", "-", "-".join(words).lower()).strip("-")[:MAX_SLUG]
    while len(slug.encode()) > 2 * MAX_SLUG:  # file systems limit bytes
        slug = slug[:-1]
    return slug.strip("-") or "sample"


def _json_lines(
    model: TypedDistribution, rows: Sequence[Row], provenance: Sequence[Row], *, ascii_only: bool = False
) -> str:
    """A line of JSON for each sample: its provenance under one key, and its targets except images."""
    visual = images.visual_columns(model.columns, model.targets)
    names = [name for name in model.targets if name not in visual]
    lines = ({KEY: about, **{n: row[n] for n in names}} for row, about in zip(rows, provenance, strict=True))
    dumps = partial(json.dumps, ensure_ascii=ascii_only, default=np.ndarray.tolist)
    return "".join(f"{dumps(line)}\n" for line in lines)
