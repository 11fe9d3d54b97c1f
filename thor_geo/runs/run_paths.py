"""Where the files of a run lie."""

from __future__ import annotations

from thor_geo.ground.plan import Shard
from thor_geo.storage import Location


class RunPaths:
    """The names of a run's files and folders; nothing is read or written.

    Attributes:
        path: The directory, or the prefix of a store.
    """

    def __init__(self, path: Location) -> None:
        """Initialize a new RunPaths instance.

        Args:
            path: The directory, or the prefix of a store.
        """
        self.path = path

    @property
    def run_json(self) -> Location:
        """Settings, versions and the plan's summary."""
        return self.path / "run.json"

    @property
    def plan_parquet(self) -> Location:
        """Every tile, as GeoParquet."""
        return self.path / "plan.parquet"

    @property
    def pooled(self) -> Location:
        """Folder of the pooled embeddings, one GeoParquet file per shard."""
        return self.path / "pooled"

    @property
    def grid(self) -> Location:
        """The Zarr store of the embedding maps."""
        return self.path / "grid.zarr"

    @property
    def place_store(self) -> Location:
        """The Zarr store of the maps of places."""
        return self.path / "places.zarr"

    @property
    def skipped(self) -> Location:
        """The rows of a table of places that were skipped, beside the pooled embeddings."""
        return self.pooled / "skipped.parquet"

    @property
    def failures(self) -> Location:
        """Folder of the failed tiles, one file per shard that has any."""
        return self.path / "failures"

    @property
    def markers(self) -> Location:
        """Folder of the markers."""
        return self.path / "markers"

    @property
    def ranks(self) -> Location:
        """Folder of the signs of life of launches' ranks, while they run."""
        return self.path / ".ranks"

    @property
    def quicklook(self) -> Location:
        """The picture of the run."""
        return self.path / "quicklook.png"

    @property
    def overview(self) -> Location:
        """The colours and states of all rows, for a first map."""
        return self.path / "overview.parquet"

    @property
    def index(self) -> Location:
        """Folder of the indexes of similar places, one folder for each."""
        return self.path / "index"

    @property
    def colours(self) -> Location:
        """The colours of embeddings in all pictures of the run."""
        return self.path / "colours.json"

    def pooled_path(self, shard: Shard) -> Location:
        """Return the path of a shard's pooled embeddings."""
        return self.pooled / f"{shard.id}.parquet"

    def failures_path(self, shard: Shard) -> Location:
        """Return the path of a shard's failed tiles."""
        return self.failures / f"{shard.id}.jsonl"

    def marker_path(self, shard: Shard) -> Location:
        """Return the path of a shard's marker."""
        return self.markers / f"{shard.id}.json"
