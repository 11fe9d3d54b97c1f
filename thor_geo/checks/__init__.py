"""Whether a run is complete and sound: validate, merge and count, from the run directory alone."""
