"""Logs: lines of JSON on stderr."""

from __future__ import annotations

import json
import logging
import time


class JSONFormatter(logging.Formatter):
    """A line of JSON for each record; `extra={"fields": ...}` adds keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: int = logging.INFO) -> None:
    """Write the logs of the server to stderr, a line of JSON each."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    for name in ("likewise.server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
