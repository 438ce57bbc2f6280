"""Readers: a data set by name, a folder, a text or table file, or a hub data set -> rows, and what was read.

A file for each: source.py finds the reader, folder.py, table_file.py, text_files.py; memory.py reads rows in memory. `datasets` is imported inside the functions: that takes a second, and a misspelled name should fail at once.
"""

from __future__ import annotations

from likewise.data.readers.base import DEFAULT_FORMAT, FileFormat, Reading
from likewise.data.readers.memory import DataFrame, read_rows
from likewise.data.readers.source import read_source

__all__ = ["DEFAULT_FORMAT", "DataFrame", "FileFormat", "Reading", "read_rows", "read_source"]
