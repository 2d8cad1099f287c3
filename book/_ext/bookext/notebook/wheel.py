"""The wheel of ``labs`` that is published with the site, for those who cannot reach the repository.

The same sources give the same bytes: no time stamp, no permission bit and no folder of this machine is in it.

    python -m bookext.notebook.wheel [folder]      build it there; without a folder, into _build/wheel
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import lru_cache
from pathlib import Path

from bookext.read.book import ROOT, config, parsed
from bookext.read.kept import files

FOLDER = "wheel"  # of the site
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
EPOCH = "315532800"  # 1980-01-01, the earliest time that a zip file can hold


@lru_cache(maxsize=1)
def wheel_name() -> str:
    """The wheel's file name, which pip reads the version from."""
    project = parsed(ROOT / "pyproject.toml", tomllib.loads)["project"]
    return f"{re.sub(r'[-_.]+', '_', project['name']).lower()}-{project['version']}-py3-none-any.whl"


def wheel_url() -> str:
    """Where the wheel stands on the published site."""
    return f"{config()['html']['baseurl'].rstrip('/')}/{FOLDER}/{wheel_name()}"


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder, unless one as new as its sources is there, and return its path.

    Raises ``RuntimeError`` with what pip said.
    """
    ready, sources = folder / wheel_name(), [*files("labs"), *(ROOT / file for file in SOURCES)]
    if ready.exists() and ready.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return ready
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "source"  # setuptools leaves folders of its own beside what it builds
        shutil.copytree(ROOT / "labs", copy / "labs", ignore=shutil.ignore_patterns("__pycache__"))
        for file in SOURCES:
            shutil.copy(ROOT / file, copy / file)
        for path in copy.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", name, str(copy)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
        done = subprocess.run(command, env=environment, umask=0o022, capture_output=True, text=True)
        built = Path(name) / wheel_name()
        if done.returncode or not built.exists():
            raise RuntimeError(f"The wheel of labs ({wheel_name()}) was not built:\n{done.stdout}{done.stderr}")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(built, ready))


if __name__ == "__main__":
    print(build_wheel(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / FOLDER))
