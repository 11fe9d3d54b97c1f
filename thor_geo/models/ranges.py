"""The ranges of THOR's geometry in pre-training (source: THOR 1.0 as published).

Inside them an embedding is what was trained; outside them the model extrapolates, silently.
"""

#: Ground covers in metres.
PRETRAINING_GROUND_COVERS = (
    960,
    1440,
    1920,
    2880,
    3360,
    4800,
    5760,
    7680,
    9600,
    11520,
    14400,
    19200,
    23040,
    28800,
    30720,
    46080,
)

#: Patch sizes in pixels of a group's own grid.
PRETRAINING_PATCH_SIZES = (4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 18, 20, 24, 30, 32)

#: Smallest and largest side in pixels of a group's images; the large side is for Sentinel-2's bands
#: at 10 m and Sentinel-1 at 60 m.
PRETRAINING_IMAGE_SIDES = (24, 288)
PRETRAINING_LARGE_SIDE = 576

#: Fewest and most patches along a side of a group's grid.
PRETRAINING_GRID_SIDES = (2, 32)

#: Most tokens per sample, over all groups.
PRETRAINING_MAX_TOKENS = 1296

#: Most tokens of a configuration that a message proposes: their attention biases (tokens x tokens
#: for 16 heads, float32) take 24 GiB, which is less than what is refused.
MOST_ADVISED_TOKENS = 20_000
