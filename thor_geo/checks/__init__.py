"""Is a run whole: validate, merge and tally, from the run directory alone."""
