"""Campaigns that break runs on purpose; `make chaos` runs them all."""
