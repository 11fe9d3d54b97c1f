"""An encoder that costs nothing: what is left of a run's time is everything around it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Shapes of what THOR base makes of a tile of 288 px at patch 16: tokens (18 x 18 of the 10 m bands
#: and 9 x 9 of the 20 m bands), and the merged map.
TOKENS, MAP = (18 * 18 + 9 * 9, 768), (768, 18, 18)


class FreeEncoder(nn.Module):
    """Returns the same random features for every batch, whatever the pixels.

    Random, because writers could leave out zeros.
    """

    def __init__(self, shape: Sequence[int] = (64, 2, 2), batch_size: int = 32) -> None:
        """Initialize a new FreeEncoder instance.

        Args:
            shape: Shape of one tile's features: tokens (N, D) or a map (D, h, w).
            batch_size: Most tiles of a batch.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.output = torch.randn((batch_size, *shape), generator=generator)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, *shape) for images (B, C, H, W)."""
        return self.output[: len(image)]
