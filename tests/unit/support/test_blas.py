from __future__ import annotations

import threading

import scipy.linalg
from threadpoolctl import threadpool_info, threadpool_limits

from thor_geo.support.blas import one_blas_thread, own_setting

assert scipy.linalg


def blas_threads(*, every: bool = True) -> set[int]:
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return {lib["num_threads"] for lib in blas if every or not own_setting(lib)}


def test_the_last_of_several_threads_gives_the_blas_threads_back() -> None:
    """If the first to leave did, the others' fits would be slow; if none did, all that follows."""
    with threadpool_limits(2, user_api="blas"):
        inside, leave = threading.Event(), threading.Event()

        def stay() -> None:
            with one_blas_thread():
                inside.set()
                leave.wait(60)

        other = threading.Thread(target=stay)
        with one_blas_thread():
            other.start()
            inside.wait(60)
            assert blas_threads(every=False) == {1}
        assert blas_threads(every=False) == {1}
        leave.set()
        other.join()
        assert blas_threads() == {2}
