"""``.venv``, made by whatever Python there is: ``python3 book/_ext/bookext/run/environment.py``. ``make`` calls it when it is due.
With a folder behind it, ``.venv`` installs other people's libraries there, for ``make extra``.

Only the standard library is imported, and what an older Python cannot read is not written, so that it can say what it lacks.
The environment finds the book by a path relative to itself: a folder that is copied or moved computes with its own ``labs``.
"""

import os
import re
import subprocess
import sys
import time
from typing import NoReturn

OLDEST = (3, 11)
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
VENV = ".venv"
PYTHON = os.path.join(VENV, "bin", "python")
LOG = os.path.join(VENV, "install.log")
OTHER = "Name another Python: make book PYTHON=python3.12"
# What pip or venv says, and what to do about it; the first that fits.
REMEDIES = (
    (r"ensurepip is not|No module named '?(venv|ensurepip)", "Install it (Debian, Ubuntu: apt install python3-venv). " + OTHER),
    (r"contains the PATH separator", "Rename the folder: its name must not hold a colon."),
    (r"Not a directory", "A file stands where a folder belongs: move it away."),
    (r"No space left|Disk quota", "Free some space (the environment takes 2 GB) and run it again."),
    (r"Permission denied|Read-only", "Copy the book into a folder that you may write into."),
    (r"Failed to resolve|NewConnectionError|NameResolution|timed out|TimeoutError|Connection|ProxyError|Network is unreachable",
     "The package index cannot be reached: mend the network or PIP_INDEX_URL and run it again; what is there is kept."),
    (r"No matching distribution.*torch|Could not find.*torch",
     "There is no such PyTorch for this Python. " + OTHER + ", or set PIP_EXTRA_INDEX_URL as README.md says."),
    (r"from versions: none", "The package index lacks it or cannot be reached: look at the network and at PIP_INDEX_URL."),
    (r"No matching distribution|Could not find a version", "The index lacks it for this Python. " + OTHER),
)  # fmt: skip


def stop(what: str, said: str = "") -> NoReturn:
    """End with one line: what went wrong, what was said about it, and the remedy for that."""
    remedy = next((text for pattern, text in REMEDIES if re.search(pattern, said, re.DOTALL)), "")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [
        line for line in lines if re.match(r"error|fatal|.*(No module named|is not available)", line, re.IGNORECASE)
    ]
    reason = re.sub(r"^(ERROR|error): ", "", (told or lines[-1:] or [""])[0])[:200]
    sys.exit(" ".join(part for part in (what, reason.rstrip(".") + "." if reason else "", remedy) if part))


def run(what: str, command: "list[str]", log: str = "") -> str:
    """Run a command in the repository's root; a sign of life every half minute, one line when it fails."""
    try:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        stop(what, str(error))
    begun = time.time()
    while True:
        try:
            said, _ = process.communicate(timeout=30)
            break
        except subprocess.TimeoutExpired:
            print("  … {:.0f} s".format(time.time() - begun), flush=True)  # noqa: UP032
        except KeyboardInterrupt:
            process.kill()
            process.communicate()
            sys.exit("Stopped. Run it again: what is installed is kept.")
    if log:
        with open(log, "w", encoding="utf8") as file:
            file.write(said)
    if process.returncode:
        stop(what, said)
    return said


def works(minor: int) -> bool:
    """Whether the environment starts, and is of this Python."""
    try:
        found = subprocess.run(
            [PYTHON, "-c", "import sys; print(sys.version_info[1])"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return False
    return found.returncode == 0 and found.stdout.strip() == str(minor).encode()


def extra(folder: str) -> None:
    """The libraries of bench/requirements.txt, in a folder of their own."""
    os.chdir(ROOT)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    run("The libraries of bench/requirements.txt could not be installed.",
        [*pip, "--target", folder, "-r", os.path.join("bench", "requirements.txt")])  # fmt: skip


def main() -> None:
    """Make the environment, or complete it."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info < OLDEST:
        sys.exit("The book needs Python {}.{} or newer, and this is {}. ".format(*OLDEST, version) + OTHER)
    os.chdir(ROOT)
    if not works(sys.version_info[1]):
        run("No environment could be made with Python {}.".format(version),  # noqa: UP032
            [sys.executable, "-m", "venv", "--clear", VENV])  # fmt: skip
    print("Installing the packages of requirements.txt into {} (once; some minutes)".format(VENV), flush=True)  # noqa: UP032
    pip = [PYTHON, "-m", "pip"]
    if subprocess.run([*pip, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        run("The environment has no pip.", [PYTHON, "-m", "ensurepip"])
    quiet = ["--disable-pip-version-check", "--no-input"]
    run("The packages could not be installed ({}).".format(LOG),  # noqa: UP032
        [*pip, "install", *quiet, "-r", "requirements.txt"], LOG)  # fmt: skip
    # An editable install would name this folder by its whole path, and still mean it when the folder has moved.
    run(
        "The older installation of labs could not be removed.", [*pip, "uninstall", "--yes", "numerical-stability-labs"]
    )
    found = run("The environment is broken; remove {}.".format(VENV),  # noqa: UP032
                [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])  # fmt: skip
    packages = found.strip().splitlines()[-1]
    with open(os.path.join(packages, "book.pth"), "w", encoding="utf8") as file:
        file.writelines(os.path.relpath(path, packages) + "\n" for path in (ROOT, os.path.join(ROOT, "book", "_ext")))
    with open(os.path.join(VENV, "ready"), "w", encoding="utf8"):
        pass


if __name__ == "__main__":
    try:
        extra(sys.argv[1]) if sys.argv[1:] else main()
    except OSError as problem:
        stop("The environment could not be made.", str(problem))
