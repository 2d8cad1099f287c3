"""The build machine: Linux on x86-64 with the pinned packages. There a number in the text is the rounded value that was computed.

Processors of that kind differ in their instructions, and libraries choose by them in which order they add. So the build's kernels
get an environment in which all of them compute with the instructions that each such processor has, on one thread. Elsewhere (Colab,
macOS, another torch) a number may differ by as much as its ± says.
"""

import os
import platform
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from .book import ROOT

EXACT = "BOOK_NUMBERS"  # set for the notebooks that the build runs on the build machine
COMPUTING = ("torch", "numpy", "scipy", "scikit-learn", "sympy")
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "JUPYTER_PLATFORM_DIRS": "1",
    "TQDM_DISABLE": "1",  # progress bars are for those who run a notebook by hand
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what a kernel sets for itself before matplotlib is imported
    # One thread a kernel: sums come out the same, and chapters run side by side.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The same instructions whatever the processor has. MKL promises equal results on another maker's for COMPATIBLE alone.
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


@cache
def is_build_machine() -> bool:
    """Whether numbers computed here, in the environment above, are those of the build machine."""
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text("utf8"), re.MULTILINE))
    try:
        pinned = all(version(name).partition("+")[0] == pins[name] for name in COMPUTING if name in pins)
    except PackageNotFoundError:
        pinned = False
    return (platform.system(), platform.machine()) == ("Linux", "x86_64") and pinned


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for other processes. Ctrl-C waits for none of them: what they wait for ends with this process."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def build_environment() -> dict[str, str]:
    """The environment of the build's kernels, and whether their numbers are compared exactly."""
    return {**os.environ, **ENVIRONMENT, **({EXACT: "rounded"} if is_build_machine() else {})}
