"""Language: how many bits a byte of text takes, by a model and by a compressor."""

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

PART = 20_000  # characters of a document that are scored as one, for the interval
MOST = 500_000  # characters that are scored, at most
READ = 20_000_000  # characters that the compressor reads, at most: it takes a second for each million


def bits_per_byte(model: Model, rows: Sequence[Row], train: Sequence[str], seed: int = 0) -> MetricResult:
    """-log2 P of texts over their bytes; the baseline is xz, which has read the training texts.

    Rows are independent, or parts of documents in order. It is the same unit for every vocabulary.
    """
    name = model.targets[0]
    score = model.log_prob(rows, seed=seed)
    nats = -score.nats.double().cpu().numpy()
    sizes = np.array([len(row[name].encode()) for row in rows], dtype=float)
    both = np.stack([nats / math.log(2), sizes], axis=1)
    value = bootstrap(lambda x: x[:, 0].sum() / x[:, 1].sum(), both, rng=rng_of("language", seed))
    between = "" if model.columns[name].spec.windowed else "\n"
    known = _last(train, between).encode()
    test = between.join(row[name] for row in rows).encode()
    baseline = Estimate(8 * (_compressed(known + test) - _compressed(known)) / len(test), n=len(rows))
    return MetricResult(
        "held-out bits/byte",
        value,
        baseline=baseline,
        better="lower",
        kind=score.kind,
        note=f"{score.kind}, over {int(sizes.sum()):,} bytes; baseline: xz after the training texts",
        heading="bits/byte",
    )


def held_out_rows(table: Table, name: str, count: int | None = None) -> list[Row]:
    """Rows held out, at most `count`; documents in parts, MOST characters in all, from the beginning of each.

    A part is scored from its own beginning, so the first window of it is told from less than the rest.
    """
    if not table.columns[name].spec.windowed:
        held = len(table.test)
        few = held if count is None else min(count, held)
        return [table.test[int(i)] for i in np.linspace(0, held - 1, few).astype(int)]
    whole = table.test.documents(name)
    share = min(1.0, MOST / sum(len(row[name]) for row in whole))
    parts = []
    for row in whole:
        text = row[name][: max(1, int(len(row[name]) * share))]
        parts += [{**row, name: text[at : at + PART]} for at in range(0, len(text), PART)]
    return parts


def _last(texts: Sequence[str], between: str) -> str:
    """The last READ characters of texts, with `between` after each."""
    parts, size = [], 0
    for text in reversed(texts):
        if size >= READ:
            break
        parts.append(text + between)
        size += len(parts[-1])
    return "".join(reversed(parts))[-READ:]


def _compressed(data: bytes) -> int:
    return len(lzma.compress(data, preset=9))
