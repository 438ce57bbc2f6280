"""Times and values as text for a terminal."""

from __future__ import annotations

from typing import Any


def format_duration(seconds: float) -> str:
    """
    >>> format_duration(59), format_duration(61), format_duration(3661)
    ('0:59', '1:01', '1:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_value(value: Any) -> str:
    """
    >>> format_value(0.10), format_value(True), format_value("auto")
    ('0.1', 'yes', 'auto')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
