"""``python -m thor_geo.emulator``."""

import sys

from thor_geo.emulator._main import main

sys.exit(main())
