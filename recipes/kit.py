"""What the recipes share: options, training or loading of models, reports, and sheets of samples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likewise import Model, Plan, Table, evaluate
from likewise.cli.progress import train_with_progress
from likewise.evaluation.reference import encode_images
from likewise.evaluation.report import Report
from likewise.evaluation.tasks.variations import variations
from likewise.modalities.base import Row
from likewise.models.checkpoint import has_checkpoint
from likewise.models.io import load_unfinished
from likewise.models.pipeline import Pipeline
from likewise.viz import images

EMOJI_CLASSIFIER = Path("runs/emoji-classifier")  # trained by emoji_classifier.py; used where it exists

PROMPTS = {
    "icons": (
        "truck",
        "heart outline",
        "account plus",
        "bell alert",
        "file document",
        "weather rainy",
        "arrow down circle",
        "home minus",
    ),
    "emoji": ("red apple", "red heart", "cat face", "grinning face", "automobile", "sun", "star", "pizza"),
}


def parse_args(
    name: str, description: str | None, minutes: float, from_run: bool = False
) -> argparse.Namespace:
    """Options of the recipe `name`, whose runs go to runs/systems/NAME by default.

    `minutes` is the default training time of each part; with `from_run` there is an option --from RUN.
    """
    raw, out = argparse.RawDescriptionHelpFormatter, Path("runs/systems") / name
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    parser.add_argument("--data", default="icons", help="a source with image and text (default icons)")
    parser.add_argument("--minutes", type=float, default=minutes, help=f"of each part (default {minutes:g})")
    parser.add_argument("--out", type=Path, default=out, help=f"folder of the runs (default {out})")
    parser.add_argument("--n", type=int, default=300, help="held-out rows of the evaluation (default 300)")
    if from_run:
        parser.add_argument("--from", dest="from_run", metavar="RUN", help="start with a run, on its data")
    parser.add_argument("--picture", type=Path, help="path of the image of samples (default OUT/picture.png)")
    args = parser.parse_args()
    args.picture = args.picture or args.out / "picture.png"
    return args


def prompts(args: argparse.Namespace, table: Table) -> Sequence[str]:
    """Eight prompts for the data: PROMPTS, or else texts of held-out rows."""
    return PROMPTS.get(args.data) or table.test.column("text")[:8]


def train_or_load(
    formula: str,
    table: Table,
    folder: Path,
    minutes: float,
    family: str = "flow",
    from_run: str | None = None,
    **options: Any,
) -> Model:
    """A model of P(formula) from `folder`, trained there if it is not yet; an interrupted training is resumed.

    With `from_run` the model of that run is trained further.
    """
    exists = has_checkpoint(folder)
    if exists:
        model = load_unfinished(folder)
    elif from_run:
        model = Model.load(from_run).adapt(table, **options)
    else:
        model = Model(formula, table.columns, family, **options)
    print(f"P({model.formula}), {model.family_name}: {folder}", flush=True)
    result = train_with_progress(model, table, Plan(minutes=minutes), folder, resume=exists)
    if result.interrupted:
        raise SystemExit("interrupted; the same command resumes the training")
    return model.eval()


def save_samples(
    model: Model | Pipeline, prompts: Sequence[str], path: Path, n: int = 4, **sampling_options: Any
) -> None:
    """Save a sheet of `n` samples of each prompt, one prompt a line, with intermediate images before the final one."""
    rows = [{"text": prompt} for prompt in prompts for _ in range(n)]
    samples = model.sample(rows, seed=0, indices=list(range(n)) * len(prompts), **sampling_options)
    links = model.links.values() if isinstance(model, Pipeline) else [model]
    columns = [name for link in links for name in link.targets]
    names = [
        name for name in columns if not isinstance(samples[0][name], np.ndarray)
    ]  # embeddings are not shown
    captions = [prompt if i % n == 0 else "" for i, prompt in enumerate(p for p in prompts for _ in range(n))]
    images.save(images.sheet(model.target_columns, samples, names, captions, n), path)
    print(f"image of samples: {path}")


def write_report(
    model: Model | Pipeline, table: Table, folder: Path, n: int, **sampling_options: Any
) -> None:
    """Print the report of `likewise evaluate`, and write it beside the model."""
    report = evaluate(model, table, n=n, likelihood_rows=0, **sampling_options)
    (folder / "report.txt").write_text(f"{report}\n")
    print(report)


def evaluate_variations(
    pipeline: Pipeline, upsampler: Model, table: Table, folder: Path, n: int, each: int = 4
) -> None:
    """Variations of `n` held-out images through image@clip: metrics, a sheet, and recognition of emoji."""
    rows = images.evenly_spaced(table.test, n)
    samples = pipeline.sample([{"image@clip": row["image"]} for row in rows for _ in range(each)])
    upsampled = upsampler.sample([{"image[size=12]": row["image"]} for row in rows])
    originals, varied, ceiling = (
        encode_images(table, "image", [row["image"] for row in group]) for group in (rows, samples, upsampled)
    )
    results = variations(originals, varied.reshape(len(rows), each, *varied.shape[1:]), ceiling)
    report = Report(str(pipeline.formula), table.source, len(rows), each, 0, {}, tuple(results))
    (folder / "variations.txt").write_text(f"{report}\n")
    print(report)
    cells = [r for i, row in enumerate(rows[:8]) for r in (row, *samples[each * i : each * (i + 1)])]
    captions = [row["text"] if k == 0 else "" for row in rows[:8] for k in range(each + 1)]
    images.save(images.sheet(table.columns, cells, ["image"], captions, each + 1), folder / "variations.png")
    if table.source == "emoji" and EMOJI_CLASSIFIER.exists():
        print_recognition({"variations": samples, "upsampled": upsampled, "originals": rows}, rows)


def print_recognition(groups: dict[str, Sequence[Row]], rows: Sequence[Row]) -> None:
    """How often the classifier of emoji_classifier.py recognises the emoji and style of `rows` in other images.

    A group has equally many images of each row, in order. Only rows that the classifier was not trained on.
    """
    from emoji_classifier import EmojiClassifier
    from emoji_evaluate import recognition

    classifier, metadata = EmojiClassifier.load(EMOJI_CLASSIFIER)
    unseen = {(emoji, style) for emoji, style, _ in metadata["unseen"]}
    indices = [i for i, row in enumerate(rows) if (row["concept"], row["style"]) in unseen]
    for name, group in groups.items():
        each = len(group) // len(rows)
        shown = [group[each * i + k]["image"] for i in indices for k in range(each)]
        truth = [rows[i] for i in indices for _ in range(each)]
        metrics = recognition(classifier, shown, truth, np.random.default_rng(0))
        print(f"{name}, of {len(indices)} emoji: " + ", ".join(f"{k} {v}" for k, v in metrics.items()))
