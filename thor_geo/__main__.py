"""``python -m thor_geo``: the same as the ``thor-geo`` command."""

import sys

from thor_geo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
