"""The pixels behind a run: its composites before normalisation, from the cache or fetched again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.errors import RunDirectoryError, ThorGeoError, first_line
from thor_geo.ground.lattice import Bounds
from thor_geo.runs.fingerprint import json_differences, plain_json
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.table_changes import TABLE_KEYS, table_changes
from thor_geo.specs import Windows

# Settings of datamodules that are paths, those of groups too; an address stays what it is.
_PATHS = frozenset(
    {
        "area.file",
        "area.points",
        "cache_dir",
        "earthengine.service_account_file",
        "emulator.archive",
        "labels",
        "paths",
        "places.file",
        "stac.url",
        "statistics",
    }
)


class TilePixels(NamedTuple):
    """Some tiles' composites, in the plan's order.

    Attributes:
        tile: Index in the plan, (n,) int64.
        image: Stored units (`specs.bands.STORAGE`; Sentinel-2: reflectance x 10,000), planes
            in the order of the run's bands, (n, C, H, W) float32; anything where no observation is.
        observations: Clear observations behind each pixel, one plane per sensor, (n, S, H, W)
            uint8; 0 = no data.
        within: 1 for pixels within the polygon over which a place's vector is pooled, (n, H, W)
            uint8; None where vectors are those of whole tiles.
    """

    tile: npt.NDArray[np.int64]
    image: npt.NDArray[np.float32]
    observations: npt.NDArray[np.uint8]
    within: npt.NDArray[np.uint8] | None = None


class RunComposites:
    """The composites of a run.

    Attributes:
        bands: Names of the planes as the model takes them, e.g. ``S2:Red``.
    """

    def __init__(self, data: CompositeDataModule | FolderDataModule, opened: OpenedRun) -> None:
        """Initialize a new Pixels instance; see `pixels_of`.

        Args:
            data: The run's datamodule, set up.
            opened: The run.
        """
        self._data, self._opened, self._path = data, opened, opened.run.path
        self.bands: tuple[str, ...] = tuple(opened.document["settings"]["model"].get("bands", ()))

    def tiles(self, wanted: npt.NDArray[np.int64]) -> Iterator[TilePixels]:
        """Yield tiles of the run, batch by batch; what is not in the cache is fetched.

        Args:
            wanted: Indices in the plan; others are read, and left out.

        Raises:
            RunDirectoryError: If one of these tiles no longer has a composite.
            ConfigError: If there are several time windows, and `pixels_of` did not choose one.
        """
        if self._data.windows.listed:
            self._opened.time_index(None)
        for batch in self._data.predict_dataloader():
            batch = self._data.on_before_batch_transfer(batch, 0)
            tiles = batch["tile"].numpy()
            chosen = np.flatnonzero(np.isin(tiles, wanted))
            for k in chosen.tolist():
                if batch["error"][k] is not None:
                    raise RunDirectoryError(
                        f"The composites of `{self._path}` cannot be read again "
                        f"({batch['error'][k]}). Run the same command once more."
                    )
            yield TilePixels(
                tiles[chosen],
                batch["image"].numpy()[chosen].astype(np.float32),
                batch["observations"].numpy()[chosen],
                batch["within"].numpy()[chosen] if "within" in batch else None,
            )

    def truecolour(
        self, epsg: int, bounds: Bounds, shape: tuple[int, int], *place: int
    ) -> npt.NDArray[np.uint8] | None:
        """Return a picture of what is in the cache; None where the bands give none.

        Args:
            epsg: UTM zone.
            bounds: Left, bottom, right, top in metres, on the pixel grid.
            shape: Height and width of the picture in pixels.
            *place: Index of the time window, of all windows of a list.

        Returns:
            (height, width, 3) uint8, row 0 = north.
        """
        return self._data.truecolour(epsg, bounds, shape, *place)


@contextmanager
def pixels_of(
    opened: OpenedRun, *, window: int | None = None, **replaced: Any
) -> Iterator[RunComposites]:
    """Give the composites of a run, read as the run read them.

    The datamodule is made again from its settings in run.json, and checked against the run: the
    same plan, and the same settings that change the numbers.

    Args:
        opened: The run.
        window: Which time window, 0 for the first; None for all, of which `Pixels.truecolour` gives
            any. Tiles are those of one.
        **replaced: Arguments of the datamodule in place of the run's own, e.g. ``num_workers=0``
            or ``cache_dir``, where the cache has moved.

    Raises:
        RunDirectoryError: If run.json does not say how the run read its data, or the datamodule
            cannot be made any more, or its pixels would be others.
        ThorGeoError: If the source cannot be reached, or there is no such window.
    """
    recorded = dict(opened.document["settings"]["data"])
    if opened.windows.listed and (window is not None or len(opened.windows) == 1):
        # As a run of that window alone: the same blocks, in the same cache.
        place = opened.time_index(window) or 0
        alone = Windows(spans=(opened.windows.spans[place],)).settings()
        del recorded["windows"]
        recorded |= alone
        replaced = {**alone, "windows": None, **replaced}
    data = _datamodule(opened, replaced)
    try:
        plan = data.load_plan()
        data.setup("predict")
        settings = plain_json("data", data.settings())
        table = table_changes({"data": settings}, {"data": recorded})
        other = [f"the table of places has changed ({'; '.join(table)})"] if table else []
        other += [
            f"{key} is {now} now and was {then}"
            for key, now, then in json_differences(settings, recorded)
            # The number of tiles to a batch changes no pixel.
            if key != "batch_size" and not f"data.{key}".startswith(TABLE_KEYS)
        ]
        if plan.digest != opened.plan.digest or other:
            back = "Put the table back as it was, or run" if table else "Run"
            raise RunDirectoryError(
                f"The composites of `{opened.run.path}` can no longer be read as they were: "
                f"{'; '.join(other) or 'the area has other tiles now'}. {back} `thor-geo predict` "
                "again, into another output.dir."
            )
        yield RunComposites(data, opened)
    finally:
        data.teardown("predict")


def _absolute(arguments: Mapping[str, Any], folder: str | None, prefix: str = "") -> dict[str, Any]:
    """Return a datamodule's arguments with paths as the run meant them, wherever it is read now."""
    if folder is None:  # a run made before that was recorded
        return dict(arguments)

    def joined(path: object) -> object:
        if isinstance(path, list):
            return [joined(each) for each in path]
        if not isinstance(path, str) or "://" in path or path.startswith("~"):
            return path
        return str(Path(folder) / path)

    return {
        key: joined(value)
        if f"{prefix}{key}" in _PATHS
        else _absolute(value, folder, f"{key}.")
        if isinstance(value, Mapping) and not prefix
        else value
        for key, value in arguments.items()
    }


def _datamodule(
    opened: OpenedRun, replaced: Mapping[str, Any]
) -> CompositeDataModule | FolderDataModule:
    section = opened.document.get("info", {}).get("config", {}).get("data")
    if not isinstance(section, Mapping) or "class_path" not in section:
        raise RunDirectoryError(
            f"`{opened.run.run_json}` does not say how the run read its data (no info.config.data; "
            "runs of `thor-geo predict` do), so its pixels cannot be read again."
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    folder = opened.document["info"]["config"].get("cwd")
    arguments = {**_absolute(section.get("init_args", {}), folder), **replaced}
    try:
        config = parser.parse_object(
            {"data": {"class_path": section["class_path"], "init_args": arguments}}
        )
        data = parser.instantiate(config).data
    except ThorGeoError:
        raise
    except Exception as error:  # whatever the parser makes of a class or a value
        raise RunDirectoryError(
            f"`{opened.run.run_json}`: its data section cannot be used any more "
            f"({first_line(error)})."
        ) from error
    if not isinstance(data, CompositeDataModule | FolderDataModule):
        raise RunDirectoryError(
            f"`{opened.run.path}` was made with {type(data).__name__}, whose pixels only it knows "
            "how to read. Runs of CompositeDataModule and FolderDataModule can be read again."
        )
    return data
