"""Forecasts of series, P(the next values | history, covariates), for one series or many.

A panel of series on a calendar is smoothed to a template; a regression and a network of quantiles learn what it leaves
over; held-out forecasts calibrate the spread. A backtest forecasts from origins of the past, beside baselines.
"""

from likewise.forecasting.forecaster import Forecaster, fit_forecaster
from likewise.forecasting.panel import Columns, Panel

__all__ = ["Columns", "Forecaster", "Panel", "fit_forecaster"]
