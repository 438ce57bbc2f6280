"""Bits per byte: the code length of text under a model, beside that of a compressor."""

from __future__ import annotations

import lzma
import math
from collections.abc import Sequence

import numpy as np

from likewise.data.table import Table
from likewise.evaluation.metrics.estimate import Estimate, bootstrap
from likewise.evaluation.reference import rng_of
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row
from likewise.models.model import Model

PART_LENGTH = 20_000  # characters of a document that are scored as one part, for the interval
MAX_SCORED = 500_000  # characters
MAX_COMPRESSED = 20_000_000  # characters of training text: the compressor takes a second for each million


def bits_per_byte(model: Model, rows: Sequence[Row], train: Sequence[str], seed: int = 0) -> MetricResult:
    """-log2 P of texts over their bytes; the baseline is xz, primed with the training texts.

    Rows are independent, or parts of documents in order. The unit is the same for every vocabulary.
    """
    name = model.targets[0]
    score = model.log_prob(rows, seed=seed)
    nats = -score.nats.double().cpu().numpy()
    sizes = np.array([len(row[name].encode()) for row in rows], dtype=float)
    pairs = np.stack([nats / math.log(2), sizes], axis=1)
    value = bootstrap(lambda x: x[:, 0].sum() / x[:, 1].sum(), pairs, rng=rng_of("language", seed))
    separator = "" if model.columns[name].spec.windowed else "\n"
    prefix = _tail(train, separator).encode()
    test = separator.join(row[name] for row in rows).encode()
    compressed = _compressed_size(prefix + test) - _compressed_size(prefix)
    return MetricResult(
        "held-out bits/byte",
        value,
        baseline=Estimate(8 * compressed / len(test), n=len(rows)),
        better="lower",
        kind=score.kind,
        note=f"{score.kind}, over {int(sizes.sum()):,} bytes; baseline: xz after the training texts",
        heading="bits/byte",
    )


def held_out_rows(table: Table, name: str, count: int | None = None) -> list[Row]:
    """Held-out rows, at most `count`; of documents parts, MAX_SCORED characters in all, from the start of each.

    A part is scored without what precedes it, so its first window has less context than the rest.
    """
    if not table.columns[name].spec.windowed:
        available = len(table.test)
        count = available if count is None else min(count, available)
        return [table.test[int(i)] for i in np.linspace(0, available - 1, count).astype(int)]
    documents = table.test.documents(name)
    share = min(1.0, MAX_SCORED / sum(len(row[name]) for row in documents))
    parts = []
    for row in documents:
        text = row[name][: max(1, int(len(row[name]) * share))]
        parts += [{**row, name: text[at : at + PART_LENGTH]} for at in range(0, len(text), PART_LENGTH)]
    return parts


def _tail(texts: Sequence[str], separator: str) -> str:
    """The last MAX_COMPRESSED characters of texts, each followed by `separator`."""
    parts, size = [], 0
    for text in reversed(texts):
        if size >= MAX_COMPRESSED:
            break
        parts.append(text + separator)
        size += len(parts[-1])
    return "".join(reversed(parts))[-MAX_COMPRESSED:]


def _compressed_size(data: bytes) -> int:
    return len(lzma.compress(data, preset=9))
