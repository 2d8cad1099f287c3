"""The build machine: which one it is, and that its kernels compute with the instructions that all of its kind have."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys

import pytest
from bookext.read import machine

SHOWN = """
import numpy, torch
from numpy._core._multiarray_umath import __cpu_features__ as found
print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), any(found.get(f) for f in ("X86_V4", "AVX512_ICL")))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64" or platform.system() != "Linux", reason="instructions of x86-64")
def test_a_kernel_of_the_build_uses_no_more_than_every_such_processor_has():
    command = [sys.executable, "-c", SHOWN]
    done = subprocess.run(command, env=machine.build_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AVX2", "1", "False"]


@pytest.mark.parametrize(
    "system, torch, exact", [("Linux", None, True), ("Darwin", None, False), ("Linux", "2.0.0", False)]
)
def test_numbers_are_exact_on_linux_with_the_pinned_packages(system, torch, exact, monkeypatch):
    pins = dict(
        line.strip().split("==")
        for line in (machine.ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    monkeypatch.setattr(machine, "version", lambda name: torch if name == "torch" and torch else pins[name] + "+cpu")
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    machine.is_build_machine.cache_clear()
    assert machine.is_build_machine() == exact and (machine.EXACT in machine.build_environment()) == exact
    machine.is_build_machine.cache_clear()


def test_where_a_package_is_missing_numbers_are_not_exact(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", missing)
    machine.is_build_machine.cache_clear()
    assert not machine.is_build_machine()
    machine.is_build_machine.cache_clear()
