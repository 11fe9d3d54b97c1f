"""What reports and pictures call scores, features and models."""

from __future__ import annotations

from collections.abc import Mapping

from thor_geo.probe.models import ProbeKind
from thor_geo.probe.spec import Task

#: Names of scores in tables and pictures.
SCORE_NAMES: Mapping[str, str] = {
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "miou": "mean IoU",
    "kappa": "kappa",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
}
_FEATURES: Mapping[str, str] = {"embeddings": "THOR", "bands": "raw bands", "none": "chance"}
_LINEAR: Mapping[Task, str] = {
    "classification": "logistic regression",
    "regression": "ridge regression",
}
_CHANCE: Mapping[Task, str] = {
    "classification": "chance (largest class)",
    "regression": "chance (mean)",
}


def features_name(features: str) -> str:
    """Return what features are called: ``THOR``, ``raw bands``, ``chance``, or a user's own name.

    Args:
        features: ``embeddings``, ``bands``, ``none``, or the name of what is compared with.
    """
    return _FEATURES.get(features, features)


def evaluation_name(features: str, model: ProbeKind, task: Task, neighbours: int) -> str:
    """Return the name of an evaluation, e.g. ``THOR, logistic regression``.

    Args:
        features: The features.
        model: The model.
        task: What is predicted.
        neighbours: k of kNN.
    """
    if model == "chance":
        return _CHANCE[task]
    fitted = _LINEAR[task] if model == "linear" else f"kNN (k = {neighbours})"
    return f"{features_name(features)}, {fitted}"
