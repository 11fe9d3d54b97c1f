"""What TerraTorch imports by `custom_modules_path`: registers the backbones `thorgeo_*`."""

import thor_geo.terratorch  # noqa: F401
