"""Charts of forecasts: fans of quantiles behind a history, and how often values are below their quantiles."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from likewise.core.provenance import png_chunks
from likewise.forecasting.calibration import TAUS
from likewise.forecasting.forecaster import Forecast
from likewise.forecasting.panel import Panel

MAX_CHARTS = 6  # series
INTERVALS = ((0, 18, "90 %", 0.15), (2, 16, "70 %", 0.2), (4, 14, "50 %", 0.3))


def fan_chart(panel: Panel, forecast: Forecast) -> bytes:
    """The PNG of the first series: the history before a forecast, its median and its central intervals."""
    count, horizon = min(MAX_CHARTS, len(forecast.ids)), len(forecast.times)
    figure, charts = _figure(count, (9, 2.6 * count + 0.8))
    begin = max(0, panel.steps - 4 * horizon)
    for s, axes in enumerate(charts):
        past = np.arange(begin, panel.steps)
        at = np.arange(panel.steps, panel.steps + horizon)
        axes.plot(past, panel.y[s, begin:], color="black", linewidth=1, label="history")
        for low, high, name, alpha in INTERVALS:
            q = forecast.quantiles[s]
            axes.fill_between(at, q[:, low], q[:, high], color="C0", alpha=alpha, linewidth=0, label=name)
        axes.plot(at, forecast.quantiles[s, :, 9], color="C0", linewidth=1.5, label="median")
        ticks = np.linspace(begin, panel.steps + horizon - 1, 5).astype(int)
        axes.set_xticks(ticks, [panel.calendar.label(t) for t in ticks], fontsize=8)
        axes.set_title(forecast.ids[s], fontsize=10)
        axes.grid(alpha=0.3)
    charts[0].legend(fontsize=8, loc="upper left")
    return _png(figure)


def calibration_chart(below: Mapping[str, Sequence[float]]) -> bytes:
    """The PNG of the share of values below each quantile: on the diagonal for calibrated forecasts."""
    figure, (axes,) = _figure(1, (5, 5))
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    for name, shares in below.items():
        axes.plot(TAUS, shares, "o-", markersize=3, linewidth=1.2, label=name)
    axes.set(xlabel="quantile", ylabel="share of values below it", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def _figure(rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    # not pyplot, which looks for a screen
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 1, squeeze=False)[:, 0]


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata=png_chunks())
    return file.getvalue()
