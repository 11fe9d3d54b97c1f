"""Has every Python with this folder on PYTHONPATH start processes as Python 3.14 does on Linux.

It is imported at the start of Python, and so by `thor-geo`, scripts and notebooks alike. On macOS
processes are spawned, which asks the same of a script: that it can be imported.
"""

import multiprocessing

multiprocessing.set_start_method("forkserver")
