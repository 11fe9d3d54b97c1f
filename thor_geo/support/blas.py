"""One BLAS thread for small problems.

OpenBLAS starts as many threads as there are cores for products that take microseconds. They wait
for each other in busy loops: fitting a probe that way takes seven times the CPU time on two cores,
and more on more cores. So small products are computed by one thread each, and several of them at a
time by threads of Python, since NumPy lets go of the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_LOCK = threading.Lock()
# How many are within `one_blas_thread` now, and what gives the threads back.
_inside = 0
_limits: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have NumPy, SciPy and scikit-learn use one BLAS thread within this context.

    The setting is the process's. It may be entered several times, also by several threads: the last
    to leave gives the threads back, so that none of them finds it changed in between.

    A BLAS that is built with OpenMP, as the one that faiss brings, keeps its threads: its setting
    is each thread's own, and the last to leave could not give back what the first has taken.
    """
    global _inside, _limits
    # NumPy and SciPy bring a BLAS each, and one that is loaded later would not be limited.
    import scipy.linalg
    from threadpoolctl import ThreadpoolController

    assert scipy.linalg
    with _LOCK:
        if _inside == 0:
            blas = ThreadpoolController().select(user_api="blas")
            shared = [lib.filepath for lib in blas.lib_controllers if not own_setting(lib.info())]
            _limits = blas.select(filepath=shared).limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _release()
                _limits.restore_original_limits()
                _release()
                _limits = None


def own_setting(library: Mapping[str, Any]) -> bool:
    """Return whether each thread has its own number of threads of a library.

    Args:
        library: What threadpoolctl says of it.
    """
    return library.get("threading_layer") == "openmp"


def _release() -> None:
    """Let this thread change a setting that another thread has made.

    Since 3.8 threadpoolctl ignores, without a word, what a thread asks of OpenBLAS while the first
    thread that asked is alive: the last to leave could not give back what the first has taken.
    """
    from threadpoolctl import OpenBLASController

    if clear := getattr(OpenBLASController, "clear_controlling_thread", None):
        clear(force=True)
