"""Uploaded files, checks of data, and formulas while they are typed."""
