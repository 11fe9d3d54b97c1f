"""Pictures of samples of embedding maps, beside their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.pictures.pca import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Cells without an embedding, as in the pictures of runs.
_WITHOUT = 224


def plot_embeddings(
    sample: dict[str, Any],
    colours: Colours,
    *,
    show_titles: bool = True,
    suptitle: str | None = None,
) -> Figure:
    """Plot the embeddings of a sample in colours, and its classes beside them.

    Args:
        sample: `image` (D, H, W) and `embedded` (1, H, W); `mask` and `prediction` (H, W) if it has
            them.
        colours: Colours of the embeddings.
        show_titles: Whether to title each panel.
        suptitle: Title of the figure.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    image = colours(np.moveaxis(sample["image"].numpy(), 0, -1))
    image[~sample["embedded"][0].numpy()] = _WITHOUT
    classes = {name: sample[name] for name in ("mask", "prediction") if name in sample}
    figure = Figure(figsize=(4 * (1 + len(classes)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + len(classes), squeeze=False)[0]
    panels[0].imshow(image)
    # One scale, so that a class has one colour in both.
    top = max((int(plane.max()) for plane in classes.values()), default=0)
    for axes, plane in zip(panels[1:], classes.values(), strict=True):
        axes.imshow(plane.squeeze().numpy(), cmap="tab20", vmin=0, vmax=max(top, 1))
    for axes, title in zip(panels, ("Embeddings", *map(str.capitalize, classes)), strict=True):
        axes.axis("off")
        if show_titles:
            axes.set_title(title)
    if suptitle is not None:
        figure.suptitle(suptitle)
    return figure
