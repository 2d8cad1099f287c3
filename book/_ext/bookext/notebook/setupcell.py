"""The first code cell of every notebook: ``labs`` from the repository, or from its wheel, without touching anything else.

On Colab, numpy and torch are Colab's own, and a changed one wants a restart in the middle of *Run all*. So ``labs`` is
installed without its dependencies, and of what is absent only what the notebooks import. The cell runs pip itself: the magic
``%pip`` hides whether it failed, and advises a restart that is not needed.
"""

import json
from string import Template

from bookext.read.book import config
from bookext.read.words import say

from .wheel import wheel_name, wheel_url

PLACEHOLDER = "/_your-account_"  # in the address of a repository that nobody can own
# What notebooks and labs import besides the standard library, and the package that has it. Torch is not in it: it is hundreds
# of megabytes, for each machine other ones, so a reader without it is told where to get it.
PACKAGES = {"matplotlib": "matplotlib", "numpy": "numpy", "sklearn": "scikit-learn", "sympy": "sympy", "tqdm": "tqdm"}

# What the cell says, in the English of the catalogue; in a Python string with double quotes, so with none of its own.
MESSAGES = {
    "advice": """\
What to do:
- If pip is missing, or this Python is 'externally managed' (PEP 668), give the notebook an
  environment of its own: python3 -m venv course, then choose it as the kernel; or, for pip
  alone: python -m ensurepip. 'Run it on your own machine' in the book has every step.
- If the network is down, restore it and run this cell again.
- If the repository cannot be reached from here, get this file with a browser, put it beside
  the notebook (on Colab: the folder on the left, then upload) and run this cell again:
  {WHEEL}
- If an address is wrong, or a placeholder because this copy of the book has no public home yet,
  write the right one into this cell. In a clone, 'pip install --no-deps .' installs labs, and
  'make address URL=...' mends every notebook.""",
    "installing": "Installing",
    "no_pip": "this Python has no pip",
    "too_slow": "no answer within 10 minutes",
    "here": "labs is here already; nothing was installed.",
    "no_address": "a placeholder, not an address",
    "installed": "Installed labs {version} from {source} in {seconds:.0f} s, and nothing else. No restart is needed.",
    "unusable": "installed, but cannot be imported",
    "in_the_way": "Something else called labs is in the way; rename it: ",
    "failed": "labs could not be installed. Tried:",
    "lacking": "Not here, and could not be installed: ",
    "added": "Installed what was not here: ",
    "no_torch": "PyTorch is not here. This cell does not install it: choose your build on pytorch.org/get-started.",
}

CODE = Template(r'''
# @title Set-up: makes the book's helper package labs importable
# Installs labs where it is not there yet. What you have of numpy, torch and the rest stays as it is.
import glob, importlib.metadata, importlib.util, os, subprocess, sys, time

REPOSITORY, TAG = "$repository", "$tag"
WHEEL = "$wheel"
PACKAGES = $packages
ADVICE = f"""
$advice"""


def labs_is_there():
    importlib.invalidate_caches()
    try:
        if importlib.util.find_spec("labs.jacobians"):
            return True
    except ImportError:
        pass
    sys.modules.pop("labs", None)   # what the search has left
    return False


def pip_install(*what):
    """Run pip; returns None, or what it says is wrong."""
    print("$installing", ", ".join(w for w in what if w[0] != "-"), "...", flush=True)
    if not importlib.util.find_spec("pip"):
        return "$no_pip"
    command = [sys.executable, "-m", "pip", "install", "--retries", "1", *what]
    no_questions = os.environ | {"GIT_TERMINAL_PROMPT": "0", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(command, env=no_questions, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=600)
    except subprocess.TimeoutExpired:
        return "$too_slow"
    said = (done.stdout + done.stderr).splitlines()
    reasons = [line.strip() for line in said
               if "fatal:" in line or line.lower().lstrip().startswith("error:")]
    return "; ".join(reasons or said[-1:]) if done.returncode else None


def set_up_labs():
    if labs_is_there():
        print("$here")
        return
    begun, tried = time.time(), []
    # A wheel beside this notebook comes first: it needs no network.
    wheels = glob.glob("$wheel_glob") + glob.glob("/kaggle/input/**/$wheel_glob", recursive=True)
    for source in [*wheels, f"git+{REPOSITORY}@{TAG}", WHEEL]:
        if "$placeholder" in source:
            tried.append(f"{source}: $no_address")
            continue
        problem = pip_install("--no-deps", source)
        if labs_is_there():
            version, seconds = importlib.metadata.version("$project"), time.time() - begun
            print(f"$installed")
            return
        tried.append(f"{source}: {problem or '$unusable'}")
    if other := importlib.util.find_spec("labs"):
        where = other.origin or list(other.submodule_search_locations)
        tried.append(f"$in_the_way{where}")
    raise ImportError("\n- ".join(["$failed", *tried]) + ADVICE)


def set_up_the_rest():
    absent = [name for module, name in PACKAGES.items() if not importlib.util.find_spec(module)]
    if absent:
        kept = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "torch")
                if importlib.util.find_spec(name)]
        problem = pip_install(*absent, *kept)
        if problem:
            raise ImportError(f"$lacking{', '.join(absent)}. {problem}")
        print("$added" + ", ".join(absent))
    if not importlib.util.find_spec("torch"):
        print("$no_torch")


${speech}set_up_labs()
set_up_the_rest()
''')
SPEECH = """os.environ["LABS_LANGUAGE"] = "{}"   # the language of labs' checks and reports\n"""


def setup_code(language: str) -> str:
    """The set-up cell, with the addresses of _config.yml; in a language that is not English, labs is told to speak it."""
    repository, project = config()["repository"], wheel_name().partition("-")[0]
    return CODE.substitute(
        speech="" if language == "en" else SPEECH.format(language),
        repository=repository["url"],
        tag=repository["branch"],
        wheel_glob=f"{project}-*.whl",
        wheel=wheel_url(),
        packages=json.dumps(PACKAGES),
        placeholder=PLACEHOLDER,
        project=project.replace("_", "-"),
        **{name: say(language, text) for name, text in MESSAGES.items()},
    ).strip()
