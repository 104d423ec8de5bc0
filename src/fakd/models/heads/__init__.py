"""Decode heads, one family a file."""
