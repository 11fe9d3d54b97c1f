"""What every room may use: files, strict JSON, progress, redaction, words for counts and times."""
