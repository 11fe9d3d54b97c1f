"""What a source of composites must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import Asker
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import AnyScene, ListedScenes
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor

#: Planes of a block: the bands of a sensor, then the observations.
BlockPixels: TypeAlias = npt.NDArray[np.uint16 | np.int16]


class CompositeService(Protocol):
    """What `produce` asks; threads may share one."""

    @property
    def reads_files(self) -> bool:
        """Whether `pixels` reads files of scenes, and may find that one cannot be used."""
        ...

    @property
    def client(self) -> Asker:
        """The layer of retries, with the budget of concurrent requests."""
        ...

    def check(self, sensor: AnySensor, window: TemporalSpec) -> None:
        """Check, before any block, that the source has what a sensor asks for."""
        ...

    def scenes(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        stats: FetchStats,
        *,
        order: int = 0,
    ) -> ListedScenes:
        """List the scenes of a block; none is an answer."""
        ...

    def image(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        scenes: Sequence[AnyScene],
        catalogue: str,
    ) -> tuple[str, Any]:
        """Return the key of the pixels of pinned scenes, and what `pixels` computes them from."""
        ...

    def pixels(
        self, sensor: AnySensor, block: Block, image: Any, stats: FetchStats, *, order: int = 0
    ) -> BlockPixels:
        """Return the planes (bands, size, size) of a block: the sensor's, then observations.

        Raises:
            SceneError: If `reads_files`, and one of the scenes cannot be used.
        """
        ...
