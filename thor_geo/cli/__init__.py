"""The command `thor-geo`: each subcommand, its arguments, its help and its error messages."""
