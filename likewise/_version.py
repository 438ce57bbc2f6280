"""The version, which run folders and files of samples name."""

__version__ = "0.1.0"
