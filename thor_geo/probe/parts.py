"""The training parts of a cross-validation, fitted by as many threads as there are cores.

NumPy lets go of the interpreter's lock in its products, so threads share the cores without copies
of the features. A part's result does not depend on what runs beside it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from thor_geo.probe.components import Standard, principal_axes
from thor_geo.probe.curve import Contender, Problem, Size, draw_labels
from thor_geo.probe.models import fit_predict
from thor_geo.support.arrays import AnyArray, Float32Array
from thor_geo.support.blas import one_blas_thread
from thor_geo.support.processes import usable_cores

# Most memory for the copies of features that fits make, and copies of each fit, as float32.
_MEMORY, _COPIES = 1 << 30, 5


@dataclass(frozen=True, kw_only=True)
class TrainingPart:
    """A model to fit and to test.

    Attributes:
        contender: Which contender.
        size: Size of the training set.
        draw: Which draw of labels.
        fold: Which fold.
    """

    contender: int
    size: Size
    draw: int
    fold: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What a part gave.

    Attributes:
        predictions: Of the fold's test part, (M,).
        labels: Number of training labels.
        seconds: How long the fit and the predictions have taken, of one core.
    """

    predictions: AnyArray
    labels: int
    seconds: float


def fits_at_a_time(size: int) -> int:
    """Return how many threads fit models: one for each core, if memory allows.

    Args:
        size: Number of values of the features, N x D.
    """
    return max(1, min(usable_cores(), _MEMORY // (4 * _COPIES * max(size, 1))))


class TrainingParts:
    """Fits parts of one cross-validation; use it as a context manager."""

    def __init__(self, problem: Problem, contenders: Sequence[Contender]) -> None:
        """Initialize a new TrainingParts instance.

        Args:
            problem: The task, with folds and settings.
            contenders: What is compared.
        """
        self.problem, self.contenders = problem, tuple(contenders)
        size = max(contender.features.size for contender in contenders)
        self._pool = ThreadPoolExecutor(fits_at_a_time(size), thread_name_prefix="probe")
        # Principal axes of the features of whole training parts, by contender and fold.
        self._axes: dict[tuple[int, int], Float32Array] = {}

    def run(
        self, parts: Sequence[TrainingPart]
    ) -> Generator[tuple[TrainingPart, Made], None, None]:
        """Yield parts with their results, as they come.

        If the caller stops before the end, those that have not begun are dropped.

        Args:
            parts: The parts; those with all labels are best before those with few, which then start
                from what they know.
        """
        with one_blas_thread():
            futures: dict[Future[Made], TrainingPart] = {
                self._pool.submit(self._fit, part): part for part in parts
            }
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """Wait for what is running, and drop the rest."""
        self._pool.shutdown(cancel_futures=True)

    def _fit(self, part: TrainingPart) -> Made:
        problem, contender = self.problem, self.contenders[part.contender]
        train, test = problem.folds.splits[part.fold]
        spec, features = problem.spec, contender.features
        rng = np.random.default_rng([spec.seed, part.fold, part.draw])
        chosen = draw_labels(problem, train, part.size, rng)
        known = features[chosen]
        key = part.contender, part.fold
        logistic = problem.task == "classification" and contender.model == "linear"
        if logistic and len(chosen) == len(train) >= features.shape[1]:
            # Fewer labels of the fold vary along nearly the same axes.
            axes = principal_axes(Standard.fit(known).float32(known))[0]
            self._axes[key] = axes.astype(np.float32)
        began = time.thread_time()
        made = fit_predict(
            contender.model,
            (known, problem.targets[chosen], problem.folds.block[chosen]),
            features[test],
            problem.task,
            neighbours=spec.neighbours,
            seed=spec.seed,
            axes=self._axes.get(key),
        )
        return Made(predictions=made, labels=len(chosen), seconds=time.thread_time() - began)
