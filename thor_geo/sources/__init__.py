"""Where pixels come from: what all sources share, and below it Earth Engine and STAC."""
