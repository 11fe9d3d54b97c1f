"""One runnable file per claim; each prints a table and writes JSON into `results/`."""
