"""Honest but odd notebooks of the real homework: what a student's habits, device or export make of a solved one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bookext.read.chapter import notebook_node

from instructor.grading import checks
from instructor.release import ROOT
from instructor.tests.planting import HOMEWORKS, module

# What a solved notebook gets before a person has read.
FULL = {name: sum(q.points for q in checks.questions(module(name)) if q.checks) for name in HOMEWORKS}


@dataclass
class Odd:
    """Cells and where they go in the solved notebook; ``person``: a person may be needed instead of full points."""

    put: str  # before, after, setup, id, or question N replaced
    cells: tuple[str, ...]
    hw: str = "hw1"
    person: bool = False


def odd(put: str, *cells: str, hw: str = "hw1", person: bool = False) -> Odd:
    return Odd(put, cells, hw, person)


@cache
def _master(name: str) -> str:
    node = notebook_node((ROOT / "instructor" / name / f"{name}.md").read_text("utf8"))
    return json.dumps({**node, "cells": [dict(cell) for cell in node.cells]})


def solved(name: str, student: str = "s123") -> dict[str, Any]:
    """The master's notebook with its solutions, set up for a student."""
    return json.loads(_master(name).replace('STUDENT_ID = \\"...\\"', f'STUDENT_ID = \\"{student}\\"'))


def cell(text: str, kind: str = "code") -> dict[str, Any]:
    made: dict[str, Any] = {"cell_type": kind, "id": f"x{abs(hash(text)) % 10**8}", "metadata": {}, "source": text}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def source(c: dict[str, Any]) -> str:
    return "".join(c["source"]) if isinstance(c["source"], list) else c["source"]


def place(node: dict[str, Any], question: str) -> int:
    """The code cell above a question's check."""
    check = next(k for k, c in enumerate(node["cells"]) if f'hw.check("{question}"' in source(c))
    return max(k for k in range(check) if node["cells"][k]["cell_type"] == "code")


def setup(node: dict[str, Any]) -> int:
    return next(k for k, c in enumerate(node["cells"]) if "STUDENT_ID =" in source(c))


def made(case: Odd) -> bytes:
    """The notebook's bytes."""
    node = solved(case.hw)
    cells, k = node["cells"], setup(node)
    new = [cell(text.removeprefix("MD:"), "markdown" if text.startswith("MD:") else "code") for text in case.cells]
    if case.put == "before":
        cells[k + 1 : k + 1] = new
    elif case.put == "after":
        cells += new
    elif case.put == "setup":
        cells[k]["source"] = case.cells[0] + "\n" + source(cells[k])
    elif case.put == "id":
        lines = [case.cells[0] if line.startswith("STUDENT_ID =") else line for line in source(cells[k]).splitlines()]
        cells[k]["source"] = "\n".join(lines)
        if len(case.cells) > 1:
            cells[k]["source"] = cells[k]["source"].replace('"hw1", STUDENT_ID', f'"hw1", {case.cells[1]}')
    elif case.put == "script":
        raise ValueError("a script is made by script()")
    else:
        at = place(node, case.put)
        cells[at : at + 1] = new
    return json.dumps(node).encode()


def script(part: Callable[[int, str], str]) -> bytes:
    """The solved notebook as a .py, each cell as ``part`` writes it."""
    codes = [source(c) for c in solved("hw1")["cells"] if c["cell_type"] == "code"]
    return "\n\n".join(part(k, text) for k, text in enumerate(codes)).encode()


J = "def layer_jacobian(W, h):\n    return (1 - np.tanh(W @ h) ** 2)[:, None] * W"
NORMS = "[np.linalg.norm(np.linalg.matrix_power([[diagonal, corner], [0, diagonal]], k), 2) for k in range(1, 900)]"
CORNER = 'corner, diagonal = hw.own("corner", 2.0, 9.0, digits=1), round(1 - 1 / hw.own("slowness", 5, 50), 4)\n'
BELOW = f"{CORNER}_norms = {NORMS}\nbelow_one = 1 + max(k for k, norm in enumerate(_norms, 1) if norm >= 1)"
LOGNORM = "def log_norm(J):\n    P, s = np.eye(J[0].shape[1]), 0.0\n    for k in {}:\n        P = J[k] @ P; n = np.linalg.norm(P); P = P / n; s += np.log(n)\n    return s"
CUDA = "def layer_jacobian(W, h):\n    W, h = torch.tensor(W{0}), torch.tensor(h{0})\n    return ((1 - torch.tanh(W @ h) ** 2)[:, None] * W){1}"
BURN = "import time\nt = time.process_time()\nwhile time.process_time() - t < 6: pass\n"
HELPER = "import helper_that_is_missing\n"

ODD: dict[str, Odd] = {
    # Later cells use the names again
    "B01 scratch uses a, b, A, B": odd("after", "a, b = 3, 4\nprint(math.hypot(a, b))\nA = np.random.randn(3, 3); B = A.T\nfor a in range(3): pass"),
    "scratch sorts an answer in place": odd("after", "A[:] = 0; B[:] = 1\nfor x in (A, B): x += 5"),
    "scratch deletes answers": odd("after", "del a, b, A, B, layer_jacobian"),
    "scratch star import": odd("after", "from sympy import *\nfrom math import *\nbackward = product = 7"),
    "scratch uses a helper's name": odd("2", "def slopes(W, h):\n    return 1 - np.tanh(W @ h) ** 2\ndef layer_jacobian(W, h):\n    return slopes(W, h)[:, None] * W", "MD:x") ,
    "with open as a": odd("after", "with np.errstate(all='ignore') as a: b = a\ntry: 1 / 0\nexcept ZeroDivisionError as B: pass\nclass A: pass"),
    "np is used again": odd("after", "np = 3; math = None; torch = 'x'; hw = None; STUDENT_ID = STUDENT_ID"),
    "a correction at the end": odd("after", "below_one = below_one", person=False),
    # Set-up that is not possible here
    "B03 drive.mount and chdir": odd("setup", "from google.colab import drive\ndrive.mount('/content/drive')\nimport os\nos.chdir('/content/drive/MyDrive/hw1')"),
    "a path on Colab": odd("setup", "import os, sys\nsys.path.append('/content/x')\nfiles = os.listdir('/content/drive')\nprint(files[0])"),
    "a download": odd("setup", "import urllib.request\nurllib.request.urlretrieve('http://x.invalid/u.py', 'u.py')\nfrom u import *"),
    "an assertion on the device": odd("setup", "import torch\nassert torch.cuda.is_available(), 'choose a GPU'"),
    "a version that is not here": odd("setup", "import torch, sys\nassert sys.version_info >= (3, 99)\nfrom torch import of_tomorrow"),
    "a login": odd("setup", "import wandb\nwandb.login(key=open('/root/key').read())\nrun = wandb.init(project='x')"),
    "an environment variable": odd("setup", "import os\nTOKEN = os.environ['HF_TOKEN']\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'"),
    "a subprocess": odd("setup", "import subprocess\nsubprocess.run(['git', 'clone', 'http://x.invalid/a'], check=True)"),
    "matplotlib's missing style": odd("setup", "import matplotlib.pyplot as plt\nplt.style.use('seaborn-whitegrid')"),
    "a syntax of another Python": odd("before", "d = {'k': 1}\nx = f'{d['k']}'\ntype Vector = list[float]\nprint(x)"),
    "one line is no Python": odd("2", "# my answer\n" + J + "\nand here I am not sure why ->\nprint('done')"),
    "sys.exit in a cell": odd("2", J + "\nimport sys\nsys.exit()"),
    "exits in the middle of an answer's cell": odd("2", "import os\nif not os.path.exists('/content'): os._exit(0)\n" + J),
    # Ways to an id
    "B05 input": odd("id", 'STUDENT_ID = input("student id: ")'),
    "input stripped": odd("id", 'STUDENT_ID = input("student id: ").strip().lower()'),
    "getpass": odd("id", "import getpass\nSTUDENT_ID = getpass.getpass()"),
    "from the environment": odd("id", "import os\nSTUDENT_ID = os.environ['STUDENT']"),
    "from a file": odd("id", "STUDENT_ID = open('/content/drive/id.txt').read().strip()"),
    "Colab's secrets": odd("id", "from google.colab import userdata\nSTUDENT_ID = userdata.get('id')"),
    "a widget": odd("id", "import ipywidgets as w\nbox = w.Text(value='', description='id')\nSTUDENT_ID = box.value"),
    "another name": odd("id", "sid = input('id? ')", "sid"),
    "in the call": odd("id", "", 'input("id? ")'),
    "in the call, from the environment": odd("id", "import os", 'os.environ["SID"]', person=True),
    "asked until it is given": odd("id", "STUDENT_ID = ''\nwhile not STUDENT_ID: STUDENT_ID = input('id: ')"),
    "a form": odd("id", 'STUDENT_ID = "s123" #@param {type:"string"}'),
    "in capitals and full width": odd("id", 'STUDENT_ID = " Ｓ１２３ "'),
    "never written": odd("id", 'STUDENT_ID = "..."', person=True),
    "argparse": odd("id", "import argparse\np = argparse.ArgumentParser()\np.add_argument('--id', required=True)\nSTUDENT_ID = p.parse_args().id"),
    "the command line": odd("id", "import sys\nSTUDENT_ID = sys.argv[1]"),
    "an Enum": odd("id", "import enum\nclass Me(str, enum.Enum):\n    ID = 's123'\nSTUDENT_ID = Me.ID", person=True),
    "the machine's user": odd("id", "import getpass\nSTUDENT_ID = getpass.getuser()", person=True),
    "the folder's name": odd("id", "import pathlib, re\nSTUDENT_ID = re.search(r's\\d+', str(pathlib.Path.cwd()))[0]"),
    "invisible signs": odd("id", "STUDENT_ID = '\\u200bs123\\ufeff'", person=True),
    # What is not installed
    "B13 trange": odd("6", "from tqdm import trange\n" + LOGNORM.format("trange(len(J))")),
    "prange": odd("6", "from numba import prange, njit\n" + LOGNORM.format("prange(len(J))")),
    "a missing bar": odd("6", "from fastprogress import progress_bar\n" + LOGNORM.format("progress_bar(range(len(J)))")),
    "B14 pandas": odd("5b", f"{CORNER}import pandas_that_is_missing as pd\n_n = pd.Series({NORMS}, index=range(1, 200))\nbelow_one = int(_n[_n >= 1].index.max()) + 1", person=True),
    "another library in a function": odd("2", "def layer_jacobian(W, h):\n    import jax_missing.numpy as jnp\n    return jnp.diag(1 - jnp.tanh(W @ h) ** 2) @ W", person=True),
    "a library that only decorates": odd("2", "from beartype_missing import beartype\nimport jaxtyping_missing as jt\n@beartype\n" + J),
    "a helper that is not beside it": odd("2", "from my_utils import tanh_slopes\ndef layer_jacobian(W, h):\n    return tanh_slopes(W @ h)[:, None] * W", person=True),
    "data that are not beside it": odd("5b", "data = np.load('norms.npy')\nbelow_one = int(data.argmax())", person=True),
    "data read in a function": odd("2", "def layer_jacobian(W, h):\n    return np.load('W.npy') * W", person=True),
    # Devices and compilers
    "B16 torch.compile": odd("2", "@torch.compile\ndef _j(W, h):\n    return torch.diag(1 - torch.tanh(W @ h) ** 2) @ W\ndef layer_jacobian(W, h):\n    return _j(torch.as_tensor(W), torch.as_tensor(h))"),
    "torch.compile with options": odd("2", "@torch.compile(mode='reduce-overhead')\ndef _j(W, h):\n    return torch.diag(1 - torch.tanh(W @ h) ** 2) @ W\nlayer_jacobian = lambda W, h: _j(torch.as_tensor(W), torch.as_tensor(h))\nm = torch.nn.Linear(2, 2)\nm.compile()"),
    "on CUDA": odd("2", CUDA.format(", device='cuda'", ".cpu()")),
    "cuda()": odd("2", CUDA.format("", "").replace("torch.tensor(W)", "torch.tensor(W).cuda()").replace("torch.tensor(h)", "torch.tensor(h).to('cuda:0')")),
    "a device by name": odd("2", "device = torch.device('cuda')\nx = torch.randn(3, 3, device=device)\nmodel = torch.nn.Linear(3, 3).to(device)\ng = torch.Generator(device='cuda').manual_seed(0)\ntorch.cuda.synchronize()\n" + CUDA.format(", device=device", ".cpu().numpy()")),
    "on a Mac": odd("2", CUDA.format(", dtype=torch.float32, device='mps'", "")),
    "a default device": odd("2", "torch.set_default_device('cuda')\n" + CUDA.format("", ".cpu()")),
    "a tensor type of CUDA": odd("2", "torch.set_default_tensor_type('torch.cuda.DoubleTensor')\n" + CUDA.format("", ".cpu()")),
    "autocast and a scaler": odd("2", "scaler = torch.amp.GradScaler('cuda')\ndef layer_jacobian(W, h):\n    with torch.autocast('cuda', dtype=torch.float16):\n        W, h = torch.tensor(W), torch.tensor(h)\n        return (1 - torch.tanh(W @ h) ** 2)[:, None] * W"),
    "XLA": odd("2", "import torch_xla_missing.core.xla_model as xm\n" + CUDA.format(", device=xm.xla_device()", ".cpu()"), person=True),
    "CuPy": odd("2", "import cupy_missing as cp\ndef layer_jacobian(W, h):\n    W, h = cp.asarray(W), cp.asarray(h)\n    return cp.asnumpy((1 - cp.tanh(W @ h) ** 2)[:, None] * W)", person=True),
    "CuPy, or NumPy": odd("2", "try:\n    import cupy_missing as xp\nexcept ImportError:\n    import numpy as xp\ndef layer_jacobian(W, h):\n    return (1 - xp.tanh(W @ h) ** 2)[:, None] * W"),
    # Magics
    "B18 memit": odd("2", "%%memit\n" + J),
    "B18 pyinstrument": odd("3a", "%%pyinstrument\na = 5\nb = 1"),
    "B18 black": odd("5b", "%%black\n" + BELOW),
    "wandb and two magics": odd("2", "# question 2\n%%wandb\n%%time\n" + J),
    "%%prun with options": odd("2", "%%prun -l 5 -s time\n" + J),
    "%%script and %%sql beside": odd("before", "%%sql\nselect 1", "%%script bash\nls", "%%R\nx <- 1", "%%cython\ncdef int x = 1", "%%ai chatgpt\nhello"),
    "%lprun and others": odd("before", "%memit x = 1\n%lprun -f f f(1)\n%load_ext line_profiler\n%env A=1"),
    # Forms of an answer
    "B09 a list of letters": odd("4", "_entry = hw.own('entry', 0.03, 0.09, digits=3)\n_o = hw.pick('order', ['ABCD', 'BADC', 'CDAB', 'DCBA', 'ACBD', 'DBCA', 'BDAC', 'CABD'])\nranking = [_o[2], _o[1], _o[3], _o[0]]\nfastest = 64 * _entry", hw="hw2"),
    "B09 afterwards": odd("after", "ranking = list(ranking)", hw="hw2"),
    "with signs between": odd("4", "_entry = hw.own('entry', 0.03, 0.09, digits=3)\n_o = hw.pick('order', ['ABCD', 'BADC', 'CDAB', 'DCBA', 'ACBD', 'DBCA', 'BDAC', 'CABD'])\nranking = np.array([_o[2], _o[1], _o[3], _o[0]])\nfastest = torch.tensor([64 * _entry])", hw="hw2"),
    "B20 SymPy's booleans": odd("5d", "import sympy as sp\nbeta_changes_delta = sp.false\nbeta_changes_weight_gradient = sp.true", hw="hw4"),
    "NumPy's booleans": odd("5d", "beta_changes_delta = np.array([False])\nbeta_changes_weight_gradient = np.bool_(True)", hw="hw4"),
    "Fraction and Decimal": odd("3a", "from fractions import Fraction\nfrom decimal import Decimal\na, b = Fraction(10, 2), Decimal(1)"),
    "views and other sequences": odd("1", "dl_dh2 = dict.fromkeys((1, 2)).keys()\ndh2_dh1 = torch.Size([2, 5])\nfrom collections import deque\ndh1_dh0 = deque((5, 3))\ndh1_dW1 = np.array([5, 5, 3], dtype=object)\ndl_dW1 = {'rows': 5, 'columns': 3}.values()"),
    "mpmath": odd("3a", "import mpmath\na, b = mpmath.mpf(5), mpmath.mpf(1)"),
    "a sparse tensor": odd("2", J.replace("return ", "return torch.tensor(") + ").to_sparse()"),
    "half precision tensors": odd("3a", "a, b = torch.tensor(5, dtype=torch.bfloat16), torch.tensor([1.0]).half()"),
    "buffers, rows by name, masks": odd("1", "import array, collections\ndl_dh2 = array.array('i', [1, 2])\ndh2_dh1 = memoryview(np.array([2, 5]))\ndh1_dh0 = collections.namedtuple('Shape', 'rows columns')(5, 3)\ndh1_dW1 = np.ma.array([5, 5, 3])\ndl_dW1 = {'rows': 5, 'columns': 3}"),
    "iterators": odd("1", "import itertools\ndl_dh2 = zip([1], [2])\ndh2_dh1 = map(int, '25')\ndh1_dh0 = iter((5, 3))\ndh1_dW1 = itertools.chain([5], [5, 3])\ndl_dW1 = (n for n in (5, 3))", person=True),
    "names made at run time": odd("3a", "globals().update(a=5)\nexec('b = 1')"),
    "jacrev": odd("2", "def layer_jacobian(W, h):\n    W, h = torch.tensor(W), torch.tensor(h)\n    return torch.func.jacrev(lambda x: torch.tanh(W @ x))(h)"),
    "inference mode": odd("2", "@torch.inference_mode()\n" + CUDA.format("", "")),
    "a partial function": odd("2", "import functools\ndef _j(slope, W, h):\n    return slope(W @ h)[:, None] * W\nlayer_jacobian = functools.partial(_j, lambda z: 1 - np.tanh(z) ** 2)"),
    "rows one by one": odd("2", "def layer_jacobian(W, h):\n    for row, z in zip(W, W @ h):\n        yield (1 - np.tanh(z) ** 2) * row"),
    "an asynchronous function": odd("2", "async " + J, person=True),
    "a value that is a function": odd("5b", BELOW + "\n_found = below_one\nbelow_one = lambda: _found", person=True),
    "named results": odd("2", J.replace("return ", "return dict(jacobian=") + ")"),
    "a number as text": odd("5b", BELOW + "\nbelow_one = f'{below_one}'"),
    "a number in a sentence": odd("5b", BELOW + "\nbelow_one = f'from {below_one} on'", person=True),
    # Options, and the process's own things
    "options of every kind": odd("setup", "import builtins, decimal, gc, logging, os, sys, warnings\nnp_options = dict(precision=2)\nsys.stdout = open(os.devnull, 'w')\nlogging.disable()\ngc.disable()\nsys.setrecursionlimit(200)\ndecimal.getcontext().prec = 3\nbuiltins.print = lambda *a, **k: None\nos.chdir('/')\nwarnings.simplefilter('error')"),
    "a time limit of one's own": odd("before", "import signal\ndef late(*a): raise TimeoutError('too long')\nsignal.signal(signal.SIGALRM, late)\nsignal.alarm(1)", person=True),
    # Time, threads
    "B28 63 threads": odd("before", "import threading, time\nfor _ in range(63): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"),
    "100 threads and a pool": odd("before", "import threading, time\nfor _ in range(100): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\nfrom concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(8); list(pool.map(abs, range(20)))"),
    "a process that sleeps": odd("before", "import subprocess\np = subprocess.Popen(['sleep', '1000'])"),
    "B27 a cell that needs more than its time": odd("2", BURN + J),
    "a cell that waits": odd("2", "import time\ntime.sleep(1000)\n" + J),
    "a pause": odd("2", "import time\ntime.sleep(3)\n" + J),
    "an answer that takes too long": odd("2", "def layer_jacobian(W, h):\n    while True: pass", person=True),
}  # fmt: skip

EXPLAINED: dict[str, tuple[str, ...]] = {
    "B07 in a Markdown cell": ('explanation = """..."""', "MD:My answer: for one matrix the spectral radius decides; independent factors share no eigenvectors."),
    "in comments": ('explanation = """..."""\n# for one matrix the spectral radius decides;\n# independent factors share no eigenvectors.',),
    "a lone string": ('explanation = """..."""', '"""for one matrix the spectral radius decides; independent factors share none"""'),
    "paragraphs": ("explanation = ['for one matrix the spectral radius decides', 'independent factors share none']",),
    "IPython's Markdown": ("from IPython.display import Markdown\nexplanation = Markdown('for one matrix the spectral radius decides')",),
    "a format string": ("explanation = f'for one matrix the spectral radius {math.pi:.0f} decides'",),
    "as it should be": ('explanation = """for one matrix the spectral radius decides"""',),
}  # fmt: skip

SCRIPTS: dict[str, Callable[[int, str], str]] = {
    "B11 #%% and a cell that fails": lambda k, text: f"#%%\n{text}" + ("\n#%%\n1 / 0" if k == 1 else ""),
    "# %% with titles": lambda k, text: f"# %% cell {k}\n{text}" + ("\nraise SystemExit" if k == 2 else ""),
    "no cells at all": lambda k, text: text + ("\n1 / 0" if k == 1 else ""),
    "Databricks": lambda k, text: ("# Databricks notebook source\n" if k == 0 else "# COMMAND ----------\n\n# MAGIC %md x\n") + text + ("\ndbutils.library.restartPython()" if k == 1 else ""),
    "Jupytext's light format": lambda k, text: ("# ---\n# jupyter:\n#   jupytext: {}\n# ---\n\n" if k == 0 else "") + f"# + tags=[]\n{text}\n# -",
    "nbconvert": lambda k, text: f"#!/usr/bin/env python\n# In[{k}]:\n\n\n{text}" + ("\nget_ipython().system('ls')\n1 / 0" if k == 1 else ""),
    "one line that is no Python": lambda k, text: text + ("\n!pip install x\nand so on ->" if k == 1 else ""),
}  # fmt: skip
