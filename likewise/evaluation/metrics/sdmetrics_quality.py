"""The quality score of the package sdmetrics, for comparison with reports of other libraries."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate

NOTE = (
    "quality score of sdmetrics: mean of the similarity of columns and of pairs of columns, 1 at best; it does not see "
    "what C2ST and TSTR see, and independent columns have a high score too"
)
TABLE = "rows"


def require_sdmetrics() -> None:
    """Raise ValueError if the package is not installed."""
    if importlib.util.find_spec("sdmetrics") is None:
        raise ValueError(
            "the package sdmetrics is not installed: pip install 'likewise[sdmetrics]', which needs a pandas below 3"
        )


def sdmetrics_quality(
    samples: Mapping[str, Sequence[float | str | None]],
    real: Mapping[str, Sequence[float | str | None]],
    classes: Sequence[str],
) -> Estimate:
    """The score of columns, which are numbers but for those of `classes`; None is missing.

    Raises ValueError if sdmetrics is not installed.
    """
    require_sdmetrics()
    import pandas
    from sdmetrics.reports import QualityReport

    kinds = {name: "categorical" if name in classes else "numerical" for name in real}
    columns = {name: {"sdtype": kind} for name, kind in kinds.items()}
    types = {name: object if name in classes else np.float64 for name in real}
    frames = [
        {TABLE: pandas.DataFrame({name: pandas.Series(list(rows[name]), dtype=types[name]) for name in real})}
        for rows in (real, samples)
    ]
    report = QualityReport()
    report.generate(*frames, {"tables": {TABLE: {"columns": columns}}}, verbose=False)
    return Estimate(float(report.get_score()), n=len(frames[1][TABLE]))
