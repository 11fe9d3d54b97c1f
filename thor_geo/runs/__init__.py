"""Commands about a run directory: how far it is, whether it is whole, and one file of its vectors.

Each command works from the directory alone, whatever still writes to it: ``thor-geo status``,
``thor-geo validate`` and ``thor-geo merge``. Modules are imported when a command is given.
"""
