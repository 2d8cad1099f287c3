"""What goes wrong around a command is said in one line, the thing and the remedy; and a copied folder computes with its own labs."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from bookext.read.chapter import SourceError
from bookext.run import command, environment
from filelock import FileLock
from support import ROOT, until

FOLDERS = ("book", "labs", "instructor", "tests", "bench", ".github", ".ci")
FILES = (
    "Makefile",
    "_config.yml",
    "_toc.yml",
    "requirements.in",
    "requirements.txt",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CITATION.cff",
)


class Copy:
    """The repository as a zip brings it, with an environment that borrows this one's packages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (folder for folder in FOLDERS if (ROOT / folder).exists()):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "pyodide"))
        for file in FILES:
            shutil.copy(ROOT / file, root / file)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
        [packages] = (root / ".venv").glob("lib/python*/site-packages")
        borrowed = [sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))]
        (packages / "borrowed.pth").write_text("\n".join(dict.fromkeys(borrowed)) + "\n")
        (packages / "book.pth").write_text("../../../..\n../../../../book/_ext\n")  # as run/environment writes it
        (root / ".venv" / "ready").touch()

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text("utf8")
        assert old in text
        path.write_text(text.replace(old, new), "utf8")

    def run(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        environment = kept | options.pop("env", {})  # type: ignore[operator]
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=600, **options
        )  # type: ignore[call-overload]
        print(done.stdout, done.stderr)
        return done


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "a copy")  # with a blank in its name


def nothing(copy: Copy) -> None: ...


def not_ready(copy: Copy) -> None:
    (copy.root / ".venv/ready").unlink()


def unreachable(copy: Copy) -> None:
    not_ready(copy)
    (copy.root / "requirements.txt").write_text("numerical-stability-no-such-package==1.0\n")
    packages = next((copy.root / ".venv").glob("lib/python*/site-packages"))
    shutil.copytree(Path(next(p for p in sys.path if (Path(p) / "pip").exists())) / "pip", packages / "pip")


def without_packages(copy: Copy) -> None:
    next((copy.root / ".venv").glob("lib/python*/site-packages/borrowed.pth")).unlink()


def a_package_less(copy: Copy) -> None:
    """The environment lacks one package."""
    packages = next((copy.root / ".venv").glob("lib/python*/site-packages"))
    (packages / "nbformat.py").write_text("import fastjsonschema_that_is_gone\n")
    (packages / "borrowed.pth").write_text(f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
                                           + "".join(f"{p}\n" for p in sys.path if p.endswith("site-packages")))  # fmt: skip


def write(name: str, content: bytes) -> Callable[[Copy], None]:
    def prepare(copy: Copy) -> None:
        (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / name).write_bytes(content)

    return prepare


def edit(name: str, old: str, new: str) -> Callable[[Copy], None]:
    return lambda copy: copy.edit(name, old, new)


def remove(name: str) -> Callable[[Copy], None]:
    def prepare(copy: Copy) -> None:
        path = copy.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return prepare


def folder(name: str) -> Callable[[Copy], None]:
    def prepare(copy: Copy) -> None:
        (copy.root / name).unlink(missing_ok=True)
        (copy.root / name).mkdir(parents=True)

    return prepare


def a_file_for_the_environment(copy: Copy) -> None:
    shutil.rmtree(copy.root / ".venv")
    (copy.root / ".venv").write_text("")


def a_site(copy: Copy) -> None:
    """What a built book has at least, and a folder of programs without a browser."""
    write("_build/html/index.html", b"")(copy)
    write("_build/html/book/index.html", b"")(copy)
    (copy.root / "bin").mkdir()


def an_archive(copy: Copy) -> None:
    """A download that broke off."""
    a_site(copy)
    write("archives/v1.0.0.tar.gz", b"\x1f\x8b\x08half of it")(copy)


def submissions(copy: Copy) -> None:
    write("in/s123.ipynb", b"{}")(copy)
    write("../secret", b"made before")(copy)


MAKE = "make --no-print-directory"
ADDRESS = f"{MAKE} address URL=https://github.com/you/name"
NOT_THERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "1",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_CONFIG_FILE": "/dev/null",
}
# What is provoked, with which command, and what the one line has to say: the thing, the remedy.
FAILURES: dict[str, tuple[Callable[[Copy], None], str, str, str]] = {
    "a port that is none": (nothing, f"{MAKE} -o book serve PORT=abc", "PORT=abc", "PORT=8001"),
    "a port of the system's": (nothing, f"{MAKE} -o book serve PORT=70000", "PORT=70000", "from 1 to 65535"),
    "no such Python": (not_ready, f"{MAKE} book PYTHON=python9.9", "no python9.9 here", "PYTHON=python3.12"),
    "no index": (unreachable, f"{MAKE} book PYTHON='{sys.executable}'", "could not be installed", "The package index cannot be reached"),
    "no packages": (without_packages, f"{MAKE} notebooks", "lacks the book's packages", "make book"),
    "a package less": (a_package_less, f"{MAKE} notebooks", "fastjsonschema_that_is_gone is missing", "make book installs it"),
    "another Python": (nothing, "{python} -S -m instructor.release", "lacks the book's packages", ".venv/bin/python"),
    "another Python for the checks": (nothing, "cd book/_ext && {python} -S -m bookext.check", "lacks the book's packages", ".venv/bin/python"),
    "settings that are no YAML": (edit("_config.yml", "execute:\n", "execute: [\n"), f"{MAKE} notebooks", "_config.yml:", "mend that line"),
    "settings without an address": (edit("_config.yml", "  url: ", "  link: "), f"{MAKE} notebooks", "no repository.url", "git diff"),
    "no settings": (remove("_config.yml"), f"{MAKE} book", "_config.yml", "git status"),
    "a page that is not there": (remove("book/notation.md"), f"{MAKE} notebooks", "book/notation.md", "restore the page"),
    "a page in another encoding": (write("book/notation.md", "# Gr\xf6\xdfe\n".encode("latin1")), f"{MAKE} notebooks", "book/notation.md", "UTF-8"),
    "front matter that is no YAML": (edit("book/01-chained-jacobians.md", "---\n", "---\na: [\n"), f"{MAKE} notebooks", "book/01-chained-jacobians.md", "mend"),
    "a file where a folder belongs": (write("_build", b""), f"{MAKE} book", "_build", "move it away"),
    "no such chapter": (nothing, f"{MAKE} check CHAPTER=99", "CHAPTER=03", "Name one chapter"),
    "no such chapter to stress": (nothing, f"{MAKE} stress CHAPTER=99", "99", "make stress CHAPTER=03"),
    "no address": (nothing, f"{MAKE} address", "make address URL=", "https://github.com/you/name"),
    "an address of ssh": (nothing, f"{MAKE} address URL=git@github.com:you/name.git", "git@github.com", "https://github.com/you/name"),
    "a tag with a blank": (nothing, f"{MAKE} address URL=https://github.com/you/name TAG='v1 0'", "v1 0", "TAG=v1.0.0"),
    "an address with a quote": (nothing, f"{MAKE} address URL=\"https://github.com/o'neil/name\"", "o'neil", "https://github.com/you/name"),
    # Provoked later, written down before they were tried.
    "a site without https": (nothing, f"{ADDRESS} SITE=you.github.io", "'you.github.io'", "SITE=https://you.example/book/"),
    "a README without its line": (edit("README.md", "**The book:**", "The book:"), ADDRESS, "README.md", "git checkout README.md"),
    "no citation": (remove("CITATION.cff"), ADDRESS, "There is no CITATION.cff", "git status"),
    "contents that are no YAML": (write("_toc.yml", b"format: [\n"), f"{MAKE} notebooks", "_toc.yml:2", "mend that line"),
    "contents with a page that is not there": (edit("_toc.yml", "book/notation", "book/notatoin"), f"{MAKE} notebooks", "book/notatoin.md", "take its line out"),
    "empty contents": (write("_toc.yml", b""), f"{MAKE} notebooks", "no root", "git diff _toc.yml"),
    "references that are no BibTeX": (edit("book/references.bib", "@", "@article{x, title={a}\n@"), f"{MAKE} notebooks", "book/references.bib:2", "mend that line"),
    "a project that is no TOML": (write("pyproject.toml", b"[project\n"), f"{MAKE} book", "pyproject.toml:1", "mend that line"),
    "a record with marks of a conflict": (write("book/_stress/08-nan-clinic.json", b"<<<<<<< HEAD\n{}\n"), f"{MAKE} stress CHAPTER=08", "book/_stress/08-nan-clinic.json:1", "mend that line"),
    "a folder where a notebook belongs": (folder("book/01-chained-jacobians.ipynb"), f"{MAKE} notebooks", "book/01-chained-jacobians.ipynb", "move it away"),
    "a folder where the lock belongs": (folder("_build/lock"), f"{MAKE} book", "_build/lock", "move it away"),
    "several chapters": (nothing, f"{MAKE} check CHAPTER=0", "Name one chapter", "CHAPTER=03"),
    "a page in UTF-16": (write("book/notation.md", "# Größe\n".encode("utf16")), f"{MAKE} notebooks", "book/notation.md", "save it so"),
    "pins without an index": (nothing, f"{MAKE} pins", "could not be resolved", "The package index cannot be reached"),
    "the newest without its Python": (nothing, "{python} -m bookext.run.newest --python python9.9", "no python9.9 here", "--python"),
    "an EPUB of no book": (nothing, f"{MAKE} -o book epub", "no built book", "make book builds it"),
    "a zip of no book": (nothing, f"{MAKE} -o book offline", "no built book", "make book builds it"),
    "pictures of no book": (nothing, "{python} -m bench.screenshots _build/html out", "no built book", "make book builds it"),
    "versions beside no book": (nothing, "{python} -m bookext.pages.versions _build/html out", "no built book", "make book builds it"),
    "no requirements": (remove("requirements.txt"), f"{MAKE} book", "requirements.txt is missing", "git checkout"),
    "an environment that is a file": (a_file_for_the_environment, f"{MAKE} book PYTHON='{sys.executable}'", "No environment could be made", "move it away"),
    "a program that is no Python": (not_ready, f"{MAKE} book PYTHON=/bin/ls", "no /bin/ls here", "PYTHON=python3.12"),
    "an address to compare with nothing": (nothing, ".ci/address", "name the repository", ".ci/address OWNER/NAME"),
    "a path for a chapter": (nothing, f"{MAKE} stress CHAPTER=../x", "../x", "make stress CHAPTER=03"),
    # A third list, written down in the same way: what a stranger types, takes out or has not installed.
    "a PDF of no book": (nothing, f"{MAKE} -o book pdf", "no built book", "make book builds it"),
    "a PDF without a browser": (a_site, "PATH={bin} {python} -m bookext.pages.paper", "Chromium", "apt install chromium"),
    "libraries without an index": (nothing, f"{MAKE} extra", "could not be installed", "The package index cannot be reached"),
    "no list of libraries": (remove("bench/requirements.txt"), f"{MAKE} extra", "bench/requirements.txt is missing", "git checkout"),
    "an option for an address": (nothing, f"{MAKE} address URL=--help", "--help", "https://github.com/you/name"),
    "a tag like an option": (nothing, f"{ADDRESS} TAG=-v1", "'-v1'", "TAG=v1.0.0"),
    "an account for an address": (nothing, f"{MAKE} address URL=https://github.com/you", "no repository on GitHub", "https://github.com/you/name"),
    "no Python named": (not_ready, f"{MAKE} book PYTHON=", "no Python", "PYTHON=python3.12"),
    "a part without chapters": (edit("_toc.yml", "      - file: book/homework/", "      # - file: book/homework/"), f"{MAKE} notebooks", "_toc.yml", "Homework"),
    "a page that is not there to check": (nothing, "{python} -m bookext.check book/99-nothing.md", "book/99-nothing.md", "git status"),
    "a page that is not there to convert": (nothing, "{python} -m bookext.notebook.generator book/99-nothing.md", "book/99-nothing.md", "git status"),
    "an archive that is none": (an_archive, "{python} -m bookext.pages.versions _build/html archives", "v1.0.0.tar.gz", "run publish for the tag v1.0.0 again"),
    "nothing to ask for": (remove("requirements.in"), f"{MAKE} pins", "requirements.in is missing", "git checkout requirements.in"),
    "a cell that is not closed": (edit("book/01-chained-jacobians.md", "```{code-cell} ipython3\n", "````{code-cell} ipython3\n"), f"{MAKE} notebooks", "book/01-chained-jacobians.md:", "nothing closes this block"),
    "a cell that is no Python": (edit("book/01-chained-jacobians.md", "import torch\n", "import torch as\n"), f"{MAKE} stress CHAPTER=01", "book/01-chained-jacobians.md:", "mend that line"),
    "a full disk": (nothing, f"{MAKE} notebooks FULL=yes", "File too large", "free some space"),
}  # fmt: skip
FOR_INSTRUCTORS: dict[str, tuple[Callable[[Copy], None], str, str, str]] = {
    "no masters": (remove("instructor"), f"{MAKE} homework", "masters are not in this copy", "as the instructor released them"),
    "no masters for a term": (remove("instructor"), f"{MAKE} term SALT=2027-spring", "masters are not in this copy", "private"),
    "a salt with a blank": (nothing, f"{MAKE} term SALT='2027 spring'", "2027 spring", "make term SALT=2027-spring"),
    "a master without its line": (edit("instructor/hw1/hw1.md", 'hw = Homework("hw1"', 'hw=Homework("hw1"'), f"{MAKE} term SALT=2027-spring", "hw1.md", "git diff"),
    "no submissions": (nothing, "{python} -m instructor.grading grade hw1 /nowhere --secret /nowhere", "/nowhere", "expected a folder of submissions"),
    "a file for the public tree": (write("../public", b""), "git init -q . && {python} -m instructor.release --public ../public", "/public: Not a directory", "move it away"),
    "no salt": (nothing, f"{MAKE} term", "SALT", "make term SALT=2027-spring"),
    "a salt with quotes": (nothing, f"{MAKE} term SALT='a\"b'", 'a"b', "make term SALT=2027-spring"),
    "a roster that is not there": (submissions, "{python} -m instructor.grading grade hw1 in --roster roster.csv --secret ../secret", "roster.csv", "--roster"),
    "a roster that is a folder": (submissions, "{python} -m instructor.grading grade hw1 in --roster in --secret ../secret", "in: ", "--roster"),
    "a homework that is none": (submissions, "{python} -m instructor.grading grade hw9 in --secret ../secret", "hw9", "hw1, hw2, hw3, hw4, hw5"),
    "per cent in words": (submissions, "{python} -m instructor.grading grade hw1 in --late-percent ten --secret ../secret", "--late-percent", "--help"),
    "nobody side by side": (submissions, "{python} -m instructor.grading grade hw1 in --jobs 0 --secret ../secret", "--jobs", "1"),
    "statistics of nobody": (nothing, "{python} -m instructor.grading plots hw1", "no record of a graded submission", "run `grade` first"),
    "an autograder into no folder": (submissions, "{python} -m instructor.grading gradescope hw1 --out nowhere/hw1.zip --secret ../secret", "nowhere/hw1.zip", "look at the paths"),
    "a release of another kind": (nothing, "{python} -m instructor.release --pubic ../public", "--pubic", "--public"),
    "a zip and no git": (nothing, "{python} -m instructor.release --public ../public", "no git repository", "git clone"),
    "git is not there": (write(".git/HEAD", b""), "PATH=/nowhere {python} -m instructor.release --public ../public", "git", "install git"),
}  # fmt: skip
if (ROOT / "instructor").exists():
    FAILURES |= FOR_INSTRUCTORS
# One of each kind stays in `make test`: from make, from the set-up, from a module's arguments, from a page, from the machine.
SHORT = {
    "no such chapter",
    "no such Python",
    "an address of ssh",
    "front matter that is no YAML",
    "a file where a folder belongs",
}
EACH = [pytest.param(name, marks=() if name in SHORT else pytest.mark.rehearsal, id=name) for name in FAILURES]


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_a_failure_is_one_line(name, copy):
    prepare, command, thing, remedy = FAILURES[name]
    prepare(copy)
    limited = {"preexec_fn": small_files} if name == "a full disk" else {}
    env = {"PYTHONDONTWRITEBYTECODE": "1"} | (NOT_THERE if name.endswith("index") else {})
    python = f"'{copy.root / '.venv/bin/python'}'"
    done = copy.run(
        "sh", "-c", command.replace("{python}", python).replace("{bin}", f"'{copy.root / 'bin'}'"), env=env, **limited
    )
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("make")]
    assert done.returncode != 0 and len(said) == 1, done.stderr
    assert thing in said[0] and remedy in said[0], said
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "error, told",
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "git"), "There is no git (install git)."),
        (OSError(errno.ENOSPC, "No space left on device", f"{ROOT}/_build/a"), "_build/a: No space left on device (free some space"),
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), "scipy is missing in"),
        (ModuleNotFoundError("No module named 'labs'", name="labs"), "There is no labs here (git checkout labs"),
        (FileNotFoundError("There is no Chromium: apt install chromium"), "There is no Chromium: apt install chromium"),
        (ImportError("cannot import name 'a' from 'b'"), "rm -rf .venv && make book"),
        (MemoryError(), "close other programs"),
        (subprocess.CalledProcessError(1, ["node", "a.js"], stderr=b"at work\nno such file\n\n"), "node a.js failed: no such file"),
        (KeyboardInterrupt(), "Run it again: what was finished is kept."),
        (SourceError("book/a.md:3: no heading\nand more"), "book/a.md:3: no heading"),
        (ZeroDivisionError("division by zero"), "a.module stopped with ZeroDivisionError: division by zero"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_what_stops_a_module_becomes_a_line(error, told, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "ROOT", ROOT if "_build" in told else tmp_path)
    said = command.one_line("a.module", error)
    assert told in said and "\n" not in said
    assert ("traceback" in said) == (tmp_path / "_build/traceback.txt").exists() == isinstance(error, ZeroDivisionError)


@pytest.mark.slow
@pytest.mark.rehearsal
def test_a_port_that_is_taken(copy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = copy.run("make", "-o", "book", "serve", f"PORT={port}")
    assert done.returncode and f"Port {port} is taken by another program; take another: make serve PORT=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.rehearsal
def test_two_builds_at_once(copy):
    (copy.root / "_build").mkdir()
    with FileLock(copy.root / "_build" / "lock"):
        done = copy.run("make", "book")
    assert (
        done.returncode and "Another build is at work in this folder" in done.stderr and "Traceback" not in done.stderr
    )


def commands(folder: Path) -> list[str]:
    """The command lines that name a folder, of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf8", "replace"))
    return [name for name in found if str(folder) in name]


@pytest.mark.slow
@pytest.mark.rehearsal
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="NOT TESTED: processes are listed on Linux alone")
def test_a_stop_by_the_keyboard(copy):
    """Ctrl-C reaches every process in the foreground; while chapters run, nothing but one line is said, and nothing is left."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    process = subprocess.Popen(["make", "book"], cwd=copy.root, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)  # fmt: skip
    line = ""
    while not line.startswith("Executing"):
        line = process.stdout.readline()
    until("a server and its kernels", lambda: sum("ipykernel" in name for name in commands(copy.root)) > 2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    said = [text for text in err.splitlines() if text.strip() and not text.startswith("make")]
    assert said == ["Stopped. Run it again: what was finished is kept."], out + err
    until("each kernel to see that its parent is gone", lambda: not commands(copy.root))


WHOSE = "import labs, bookext.read.book as b; print(labs.__file__, b.ROOT, sep='\\n')"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copied", pytest.param("moved", marks=pytest.mark.rehearsal)])
def test_a_copied_or_moved_folder_computes_with_its_own_labs(how, copy, tmp_path):
    other = tmp_path / "elsewhere" / "book"
    shutil.copytree(copy.root, other, symlinks=True)
    if how == "moved":
        shutil.rmtree(copy.root)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # as from a shell
    for folder in (other, other / "book", tmp_path):
        printed = subprocess.run(
            [other / ".venv/bin/python", "-c", WHOSE], cwd=folder, env=own, capture_output=True, text=True, check=True
        )
        assert printed.stdout.split() == [str(other / "labs/__init__.py"), str(other)], (folder, printed.stdout)
    if how == "moved":
        made = subprocess.run(["make", "notebooks"], cwd=other, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr


@pytest.mark.slow
@pytest.mark.rehearsal
def test_an_environment_whose_python_is_gone_is_made_anew(copy):
    for name in ("python", "python3", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        (copy.root / ".venv/bin" / name).unlink(missing_ok=True)
    (copy.root / ".venv/bin/python").symlink_to("/nowhere/python3")
    done = copy.run("make", "notebooks", "PYTHON=python9.9")
    assert "does not start; the environment is made anew" in done.stdout and "no python9.9" in done.stderr


@pytest.mark.parametrize(
    "said, told",
    [
        ("The virtual environment was not created successfully because ensurepip is not\navailable.  On Debian", "apt install python3-venv"),
        ("/usr/bin/python3: No module named venv", "apt install python3-venv"),
        ("Error: Refusing to create a venv in /a:b because it contains the PATH separator :.", "Rename the folder"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "Free some space"),
        ("Error: [Errno 13] Permission denied: '/srv/book/.venv'", "a folder that you may write into"),
        ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0\nERROR: No matching distribution found for torch==2.13.0", "no such PyTorch for this Python"),
        ("ERROR: No matching distribution found for numpy==9", "The index lacks it for this Python"),
    ],
)  # fmt: skip
def test_what_pip_and_venv_say_becomes_a_line(said, told):
    with pytest.raises(SystemExit) as stopped:
        environment.stop("The packages could not be installed.", said)
    assert told in str(stopped.value) and "\n" not in str(stopped.value)


def test_every_target_is_always_run():
    """A target named like a folder, bench, would be up to date for ever."""
    text = (ROOT / "Makefile").read_text("utf8")
    targets = {
        line.partition(":")[0] for line in text.splitlines() if ":" in line and "## " in line and line[0].isalpha()
    }
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY")).partition(":")[2].split()
    assert targets == set(phony) and "bench" in targets
