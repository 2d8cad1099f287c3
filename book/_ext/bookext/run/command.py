"""How ``make`` runs a module: ``python -m bookext.run.command MODULE ARGUMENTS``. What stops it is said in one line, with a remedy.

A module says itself what is wrong with a page or an argument. What reaches this one is the machine's fault (a full disk, a missing
package), a stop by Ctrl-C, or a fault of the book's own code; of the last, the traceback is kept in a file.
"""

import contextlib
import errno
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[4]
OURS = {"bookext", "labs", "instructor", "bench", "tests", "support"}
REINSTALL = "rm -f .venv/ready && make book installs it"
ERRNOS = {
    errno.ENOSPC: "free some space and run it again (make clean removes what was built)",
    errno.EDQUOT: "free some space and run it again (make clean removes what was built)",
    errno.EFBIG: "free some space, or raise the limit: ulimit -f unlimited",
    errno.EROFS: "copy the book into a folder that you may write into",
    errno.EACCES: "copy the book into a folder that you may write into",
    errno.EPERM: "copy the book into a folder that you may write into",
    errno.ENOTDIR: "a file stands where a folder belongs; move it away",
    errno.EISDIR: "a folder stands where a file belongs; move it away",
    errno.EEXIST: "a file stands where a folder belongs; move it away",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENOMEM: "close other programs and run it again",
}
TOOLS = {"git": "install git", "bwrap": "install bubblewrap", "node": "make book installs it", "java": "install Java"}


def shown(path: object) -> str:
    """A path as a reader of the message knows it."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return text.removeprefix(f"{ROOT}/")


def last_path(error: BaseException) -> str:
    """The file that was at hand where an error came from, for those errors that do not name one."""
    found = [value for frame, _ in traceback.walk_tb(error.__traceback__) for value in frame.f_locals.values()]
    paths = [value for value in found if isinstance(value, Path) and value.is_file() and value.suffix != ".py"]
    return f"{shown(paths[-1])}: " if paths else ""


def of_the_machine(error: OSError) -> str:
    """A file, a folder, a program, the disk."""
    name = shown(error.filename) if error.filename is not None else ""
    if isinstance(error, FileNotFoundError) and name.startswith("_build/html"):
        return f"There is no built book, and {name} belongs to it (make book builds it)"
    if isinstance(error, FileNotFoundError):
        remedy = TOOLS.get(
            Path(name).name, "was it removed or renamed? git status shows it; make clean if it lies in _build"
        )
        return f"There is no {name or 'file'} ({remedy})"
    what = f"{name}: {error.strerror or error}" if name else f"{last_path(error)}{error.strerror or error}"
    return f"{what} ({ERRNOS.get(error.errno or 0, 'run it again; make clean removes what was built')})"


def of_a_program(error: subprocess.CalledProcessError) -> str:
    """The last line of what a program said."""
    said = error.stderr.decode("utf8", "replace") if isinstance(error.stderr, bytes) else error.stderr or ""
    reason = ([line for line in said.splitlines() if line.strip()] or [f"exit status {error.returncode}"])[-1]
    called = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd[:3]))
    return f"{called} failed: {reason.strip()}"


def kept(error: BaseException) -> str:
    """Where the traceback is kept for whoever mends the book."""
    text = "".join(traceback.format_exception(error))
    for folder in (ROOT / "_build", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(exist_ok=True)
            (folder / "traceback.txt").write_text(text, "utf8")
            return f"the traceback: {shown(folder / 'traceback.txt')}"
        except OSError:
            continue
    return "its traceback could not be kept"


def of_an_import(error: ImportError, first: str) -> str:
    """What cannot be imported, and the remedy; "" for an error in our own code."""
    if not isinstance(error, ModuleNotFoundError):
        return f"{first} (a package is broken: rm -rf .venv && make book installs all anew)."
    package = (error.name or "").partition(".")[0]
    if package in OURS and not (ROOT / package).exists() and package != "bookext":
        return f"There is no {package} here (git checkout {package} brings it back)."
    return "" if package in OURS else f"The package {error.name} is missing in {sys.prefix} ({REINSTALL})."


def one_line(module: str, error: BaseException) -> str:
    """What stopped a module, and what to do about it."""
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, KeyboardInterrupt):
        return "Stopped. Run it again: what was finished is kept."
    if isinstance(error, ImportError) and (said := of_an_import(error, first)):
        return said
    if isinstance(error, UnicodeDecodeError):
        return f"{last_path(error)}not written in UTF-8, at byte {error.start} (save it so in your editor)."
    if isinstance(error, OSError):
        ours = isinstance(error, FileNotFoundError) and error.errno is None  # says itself what is missing
        return first if ours else of_the_machine(error) + "."
    if isinstance(error, MemoryError):
        return "The memory is not enough (close other programs and run it again)."
    if isinstance(error, subprocess.CalledProcessError):
        return of_a_program(error)
    if type(error).__module__.partition(".")[0] in OURS | {
        "__main__"
    }:  # an error of ours says what is wrong with a page or a setting
        return first
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{ROOT}/" in frame.filename]
    where = f" at {shown(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    what = f"{last_path(error)}{module} stopped with {type(error).__name__}: {first}"
    return f"{what}{where} (git status shows what you changed; {kept(error)})."


def end_children() -> None:
    """End what this process has started, kernels and pip: none of it outlives Ctrl-C or a failure."""
    with contextlib.suppress(ImportError):
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def say(error: BaseException) -> None:
    """What stopped a module that was started by itself: the last word of ``sys.excepthook``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    print(one_line(spec.name if spec else "It", error), file=sys.stderr, flush=True)
    end_children()


def guarded(module: str, work: Callable[[], Any]) -> Any:
    """What the work of a module gives; what stops it is said in one line, and ends this process with what it has started."""
    try:
        return work()
    except BrokenPipeError:  # the reader of the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        print(one_line(module, error), file=sys.stderr, flush=True)
        sys.stdout.flush()
        end_children()
        os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)  # threads that wait for a kernel would wait on
    return None


def main(arguments: list[str]) -> int:
    """Run a module as ``python -m`` would."""
    module, *rest = arguments
    sys.argv = [module, *rest]
    guarded(module, lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
