"""Helpers for every room: files, strict JSON, processes, progress, redaction, counts in words."""
