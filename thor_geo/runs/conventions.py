"""What the files say about their embeddings in the words that other programs know.

The convention ``geoemb:`` (v1, a proposal: https://github.com/geo-embeddings/embeddings-zarr-convention)
describes embeddings at the root of a Zarr store. The vectors carry the same facts as JSON under the
key ``geoemb`` of their Parquet footer, with the names of the convention after the colon.

Its text and its schema differ in places. Where they do, the schema counts, as in the stores that
exist: `source_data` is a list, and the scale of codes an object.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thor_geo.runs.fingerprint import JSON
from thor_geo.runs.shard import Dtype
from thor_geo.support.jsontext import parse_json

#: Registration of the convention, as its schema requires it.
GEOEMB: dict[str, str] = {
    "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md",
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "description": "Geoembeddings convention for geospatial embedding arrays with model provenance",
}
#: Key of the facts in the footer of a Parquet file.
FOOTER_KEY = "geoemb"

_EARTH_ENGINE = "https://developers.google.com/earth-engine/datasets/catalog/"
_MISSIONS = "https://dataspace.copernicus.eu/data-collections/copernicus-sentinel-data/"
_SENSORS = {"sentinel2": "sentinel-2", "sentinel1": "sentinel-1"}


@dataclass(frozen=True, kw_only=True)
class EmbeddingFacts:
    """What there is to know about the embeddings of an array or a column.

    Attributes:
        dimensions: Length of an embedding.
        dtype: Type of its elements in the file.
        model: URI of the weights: their page, or a name for their content.
        source_data: URIs of what the embeddings were computed from.
        gsd: Side of a pixel of the input, metres.
        side: Side of the ground that an embedding stands for, pixels.
        stride: Pixels from one to the next; None where they lie in no regular grid, as places do.
        scale: The array or column that holds the scales of int8 codes.
    """

    dimensions: int
    dtype: Dtype
    model: str
    source_data: tuple[str, ...]
    gsd: float
    side: int
    stride: int | None
    scale: str = "scale"

    @classmethod
    def from_metadata(
        cls,
        metadata: str,
        *,
        dimensions: int,
        dtype: Dtype,
        gsd: float,
        side: int,
        stride: int | None,
    ) -> EmbeddingFacts:
        """Return the facts of an output.

        Args:
            metadata: `RunDirectory.metadata`.
            dimensions: Length of an embedding.
            dtype: Type of its elements in the file.
            gsd: Side of a pixel of the input, metres.
            side: Side of the ground that an embedding stands for, pixels.
            stride: Pixels from one to the next; None where they lie in no regular grid.

        Raises:
            ValueError: If *metadata* is not JSON.
        """
        about = parse_json(metadata)
        return cls(
            dimensions=dimensions,
            dtype=dtype,
            model=_model_uri(about),
            source_data=_source_uris(about),
            gsd=gsd,
            side=side,
            stride=stride,
        )

    def geoemb(self) -> dict[str, JSON]:
        """Return the facts by the names of the convention, without its prefix."""
        facts: dict[str, JSON] = {
            "type": "pixel" if self.side == 1 else "chip",
            "dimensions": self.dimensions,
            "model": self.model,
            "source_data": list(self.source_data),
            "data_type": self.dtype,
            "gsd": self.gsd,
        }
        if self.side > 1:
            grid = self.stride is not None
            facts["chip_layout"] = {
                "layout_type": "regular_grid" if grid else "irregular",
                "chip_size": [self.side, self.side],
                **({"stride": [self.stride, self.stride]} if grid else {}),
            }
        if self.dtype == "int8":
            facts["quantization"] = {
                # The convention's word for a scale beside every embedding.
                "method": "per_pixel_scale",
                "original_dtype": "float32",
                "quantized_dtype": "int8",
                "scale": {"type": "array", "array_name": self.scale, "nodata": "NaN"},
            }
        return facts

    def root_attributes(self, build_version: str | None) -> dict[str, JSON]:
        """Return the attributes of the root of a store, of UTM zones or of places.

        Args:
            build_version: Version of this package; None if it is not known.
        """
        facts = self.geoemb()
        if self.stride is not None:
            facts["spatial_layout"] = "utm_zones"
        if build_version is not None:
            facts["build_version"] = build_version
        return {
            "zarr_conventions": [GEOEMB],
            **{f"{GEOEMB['name']}{name}": value for name, value in facts.items()},
        }


def _model_uri(about: Mapping[str, Any]) -> str:
    model = {**about.get("settings", {}).get("model", {}), **about.get("model", {})}
    if isinstance(model.get("weights_url"), str):
        return str(model["weights_url"])
    if isinstance(model.get("weights_sha256"), str):
        return _content_uri(model["weights_sha256"])
    return f"urn:thor-geo:model:{model.get('model_key', 'unnamed')}"


def _source_uris(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a URI for each sensor, or one for the user's own files."""
    data = about.get("settings", {}).get("data", {})
    uris = []
    for name, page in _SENSORS.items():
        sensor = data.get(name)
        if not isinstance(sensor, Mapping):
            continue
        catalogue = str(sensor.get("catalogue", ""))
        kind, _, digest = catalogue.partition("-")
        if kind == "emulator" and digest:
            # Several where a mask comes from another collection.
            uris += [_content_uri(each) for each in digest.split("+")]
        elif kind == "earthengine":
            uris.append(_EARTH_ENGINE + str(sensor.get("collection")).replace("/", "_"))
        else:  # A STAC catalogue is known by its content, its scenes are the mission's.
            uris.append(_MISSIONS + page)
    if not uris and isinstance(data.get("files_sha256"), str):
        uris.append(_content_uri(data["files_sha256"]))
    return tuple(uris) or ("urn:thor-geo:source:unnamed",)


def _content_uri(sha256: str) -> str:
    """Return a URI for what has a checksum and no page (RFC 6920, "Naming Things with Hashes")."""
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        return f"urn:thor-geo:content:{sha256}"
    return f"ni:///sha-256;{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
