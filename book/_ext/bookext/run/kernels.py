"""Kernels for the build, forked from one process that has imported what the chapters import.

Importing torch, SymPy, matplotlib and scikit-learn takes four seconds of a core, for each of ten notebooks. The standard library's
fork server imports them once, before any kernel runs, so that each chapter still starts from the same untouched process.
"""

import multiprocessing
import os
import signal
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

SERVER = multiprocessing.get_context("forkserver")
IMPORTED = ["ipykernel.kernelapp", "torch", "torch._dynamo", "matplotlib.pyplot", "sympy", "sklearn.datasets"]
SERVER.set_forkserver_preload(IMPORTED)


lent = False  # whether the server is that of the process which this one was forked from


def start_server() -> None:
    """Start the fork server in the main thread, deaf to Ctrl-C, which would else be told by a traceback from each of its imports."""
    if lent:
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, heard)


def use_parents_server() -> None:
    """In a fork of the process that has started the server: kernels come from it, though it is no child of this process."""
    global lent
    lent = True
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]  # which would wait for a child


def run_kernel(arguments: list[str], folder: str) -> None:
    """What a forked process does: it is a kernel in ``folder`` until it is told to stop."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # Ctrl-C is the build's: the kernel ends when its parent does
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    application = IPKernelApp.instance(parent_handle=os.getppid())  # ends with the server, and so with the build
    application.initialize(arguments)
    application.start()


class Forked(ForkServerProcess):
    """A forked kernel, with those parts of ``subprocess.Popen`` that Jupyter uses."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int | None:
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(int(self.pid or 0), number)


class Provisioner(LocalProvisioner):
    """Starts a kernel by a fork where Jupyter would start a Python."""

    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        self.process = Forked(target=run_kernel, args=(cmd[cmd.index("-f") :], kwargs["cwd"]), daemon=True)
        self.process.start()
        return self.connection_info


class ForkedKernelManager(AsyncKernelManager):
    """For ``NotebookClient(..., kernel_manager_class=ForkedKernelManager)``."""

    async def _async_pre_start_kernel(self, **kwargs: Any) -> Any:
        if self.provisioner is None:
            self.provisioner = Provisioner(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
        return await super()._async_pre_start_kernel(**kwargs)
