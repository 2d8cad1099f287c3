"""Notebooks for the grader's tests: a small assignment solved, wrong and blank; hostile ones; honest but odd ones."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SETUP = """\
import math
import numpy as np
import sympy as sp
import torch
from labs.homework import Homework
STUDENT_ID = "s123"
hw = Homework("small", STUDENT_ID, salt="test")"""
JACOBIAN = """\
def layer_jacobian(W, h):
    return (1 - np.tanh(W @ h) ** 2)[:, None] * W"""
STEPS = 'factor = hw.own("factor", 1.2, 1.9)\nsteps = math.ceil(math.log(65504) / math.log(factor))'
VARIANCE = 'n, gamma = sp.symbols("n gamma", positive=True)\nvariance = n * gamma'
RANKING = "ranking = [2, 0, 1]"
WHY = 'explanation = """The products differ."""'
SUMMARY = "hw.summary()"
RIGHT = [SETUP, JACOBIAN, STEPS, VARIANCE, RANKING, WHY, SUMMARY]
BLANK = [SETUP, 'def layer_jacobian(W, h):\n    raise NotImplementedError("question 1")', "steps = ...", "variance = ...",
         "ranking = ...", 'explanation = """..."""', SUMMARY]  # fmt: skip
WRONG = [SETUP, "def layer_jacobian(W, h):\n    return W.T * 0.5", "steps = -1", 'variance = sp.Symbol("n") ** 3',
         "ranking = [0, 0, 0]", WHY, SUMMARY]  # fmt: skip


def notebook(cells: Sequence[str], **metadata: Any) -> dict[str, Any]:
    """A notebook of these code cells, as Jupyter saves it."""
    made = [
        {
            "cell_type": "code",
            "id": f"c{k}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": text.splitlines(True),
        }
        for k, text in enumerate(cells)
    ]
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def saved(cells: Sequence[str]) -> bytes:
    """The bytes of :func:`notebook`."""
    return json.dumps(notebook(cells), ensure_ascii=False, indent=1).encode("utf8", "surrogatepass")


def wrong_with(*attack: str, last: bool = False) -> bytes:
    """All answers wrong, and an attack before them, or after them."""
    return saved([*WRONG, *attack] if last else [SETUP, *attack, *WRONG[1:]])


FIND = """
import glob, re
text = ""
for pattern in ("/**/checks*.py", "/autograder/**/*", "/srv/**/*.py", "/root/**/hw*.md", "/sandbox/**/*.py"):
    for path in glob.iglob(pattern, recursive=True):
        try:
            text += open(path).read()
        except OSError:
            pass
exec("".join(re.findall(r"right = .*", text)[:1]) or "right = None")
steps = right; ranking = [2, 0, 1] if "2, 0, 1" in text else None
"""
CHANNEL = """
import os, json
def forge(*messages):
    for fd in range(3, 64):
        for message in messages:
            try:
                os.write(fd, message if isinstance(message, bytes) else json.dumps(message).encode() + b"\\n")
            except OSError:
                pass
"""
CLIMB = """
import gc, sys, inspect
for thing in gc.get_objects():
    if type(thing).__name__ in ("Item", "Result", "Question") or (isinstance(thing, dict) and "QUESTIONS" in thing):
        try:
            thing.ok, thing.points = True, 100
        except Exception:
            pass
frame = sys._getframe()
while frame:
    for name in ("right", "expected", "ok", "points"):
        if name in frame.f_locals: frame.f_locals[name] = 1e9
    frame = frame.f_back
"""
EQUAL = """
class Equal:
    shape, ndim, size, dtype = (2, 5), 2, 10, np.dtype(float)
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __bool__(self): return True
    def __float__(self): return 1.0
    def __array__(self, *a, **k): return np.full((2, 5), np.nan)
    def __abs__(self): return 0.0
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __hash__(self): return 0
def layer_jacobian(W, h): return Equal()
steps = variance = ranking = Equal()
"""

FIND_CHANNEL = """
import os, json
def channel():
    for fd in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"): return fd
        except OSError: pass
CH = channel()
"""
# What only stops, delays or fills: a batch has to go on after each. Each stands for a kind and is in `make test`.
STOPPING: dict[str, bytes] = {
    "A01 a message nested 700 deep, then the end": wrong_with(FIND_CHANNEL + "os.write(CH, b'{\"ran\": ' + b'[' * 700 + b']' * 700 + b'}\\n')\nos._exit(0)", last=True),
    "nested 100,000 deep": wrong_with(FIND_CHANNEL + "os.write(CH, b'{\"ran\": ' + b'[' * 10**5 + b']' * 10**5 + b'}\\n')\nos._exit(0)", last=True),
    "A03 messages without end": wrong_with(FIND_CHANNEL + "import time\nif os.fork():\n    time.sleep(10**6)\nwhile True:\n    os.write(CH, b'{\"at\": [1, 0]}\\n'); time.sleep(0.3)"),
    "a new cell without end": wrong_with(FIND_CHANNEL + "import time\nif os.fork():\n    time.sleep(10**6)\nk = 0\nwhile True:\n    k += 1; os.write(CH, b'{\"at\": [%d, 0]}\\n' % k); time.sleep(0.3)"),
    "replies without end": wrong_with(FIND_CHANNEL + "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\ndef layer_jacobian(W, h):\n    while True: os.write(CH, b'{\"n\": 0}\\n')", last=True),
    "a line without end, slowly": wrong_with(FIND_CHANNEL + "import time\nwhile True:\n    os.write(CH, b'x'); time.sleep(0.3)"),
    "A07 texts that pad": wrong_with("ranking = ['x' * 1_000_000] + ['y'] * 400\nsteps = [['x' * 100_000, *range(9000)]] * 2", last=True),
    "A10 600,000 failed cells": wrong_with(FIND_CHANNEL + "import time\nos.write(CH, b'{\"ran\": [' + b','.join([b'[0, \"\"]'] * 600_000) + b']}\\n')\ntime.sleep(1)", last=True),
    "150,000 failed cells": wrong_with(FIND_CHANNEL + "import time\nos.write(CH, b'{\"ran\": [' + b','.join([b'[0, \"xy\"]'] * 150_000) + b']}\\n')\ntime.sleep(1)", last=True),
    "A12 a loop": wrong_with("while True: pass"),
    "a loop that ignores all signals": wrong_with("import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\nsignal.setitimer(signal.ITIMER_PROF, 0)\nwhile True: pass"),
    "loops in many processes": wrong_with("import os, signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nfor _ in range(5): os.fork()\nwhile True: pass"),
    "waits and leaves a child": wrong_with("import os, time\nif os.fork():\n    os._exit(0)\nos.setsid()\ntime.sleep(10**6)"),
    "stops its parents and itself": wrong_with("import os, signal\nfor p in (os.getppid(), 1, os.getpid()): os.kill(p, signal.SIGSTOP)"),
    "dies in every statement": saved([SETUP, "\n".join(["import os", *["os._exit(0)"] * 60]), *WRONG[1:]]),
    "A05 directories 3000 deep": wrong_with("import os\nfor _ in range(3000):\n    try: os.mkdir('d'); os.chdir('d')\n    except OSError: break", last=True),
    "many empty arrays": wrong_with("ranking = [np.zeros((0, 7))] * 20000\nsteps = np.zeros((2 * 10**6, 0, 3))\nvariance = {str(k): [] for k in range(10**5)}", last=True),
    "a set-up that is nested": saved([SETUP, "x = " + "(" * 3000 + "1" + ")" * 3000, "y = " + "-" * 90000 + "1", *WRONG[1:]]),
}  # fmt: skip

# Name: bytes. All answers are wrong or missing, so none may earn a point on questions 1 to 4.
HOSTILE: dict[str, bytes] = {
    "syntax error everywhere": saved(["def (:", *(f"{cell}\n)" for cell in WRONG[1:])]),
    "endless loop at top level": wrong_with("while True: pass"),
    "endless loop that catches everything": wrong_with(
        "import signal\nfor s in (14, 27, 26, 24): signal.signal(s, lambda *a: None)\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "endless loop in a function": wrong_with("def layer_jacobian(W, h):\n    while True: pass", last=True),
    "sleeps for ever in a function": wrong_with(
        "import signal, time\ndef layer_jacobian(W, h):\n    signal.signal(14, signal.SIG_IGN)\n    time.sleep(10**6)", last=True
    ),
    "sys.exit": wrong_with("import sys\nsys.exit(0)"),
    "exit()": wrong_with("exit()"),
    "os._exit in every cell": saved([SETUP, *["import os\nos._exit(0)"] * 8]),
    "os._exit in a function": wrong_with("import os\ndef layer_jacobian(W, h): os._exit(0)", last=True),
    "kills itself": wrong_with("import os\nos.kill(os.getpid(), 9)"),
    "kills all it may": wrong_with("import os\nos.kill(-1, 9)"),
    "kills its parent and process 1": wrong_with("import os\nfor p in (os.getppid(), 1, 2): os.kill(p, 9)"),
    "segmentation fault": wrong_with("import ctypes\nctypes.string_at(0)"),
    "deep recursion": wrong_with("import sys\nsys.setrecursionlimit(10**9)\ndef layer_jacobian(W, h): return layer_jacobian(W, h)", last=True),
    "edited checks": wrong_with("import labs.homework\nlabs.homework.Check.__exit__ = lambda *a: True\nhw.results = {k: 'passed' for k in '12345'}"),
    "imports the grader": wrong_with(
        "import sys\nfor name in ('checks', 'batch', 'report'):\n    try:\n        m = __import__(f'instructor.grading.{name}', fromlist=['x'])\n"
        "        m.check = m.close = lambda *a, **k: True\n    except ImportError: pass"
    ),
    "patches the inner side": wrong_with(
        "import sys\nplain = next(module for name, module in sys.modules.items() if name.endswith('inside.plain'))\nplain.answer = lambda *a: {'value': True, 'points': 99, 'ok': True}\n"
        "plain.answer_line = lambda ns, line: plain.dumps({'n': plain.loads(line)['n'], 'value': True, 'ok': True, 'points': 9})"
    ),
    "overwrites asserts and builtins": wrong_with(
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.all = builtins.any = builtins.isinstance = lambda *a: True\n"
        "builtins.AssertionError = type('Never', (Exception,), {})"
    ),
    "patches numpy": wrong_with("for name in ('allclose', 'isclose', 'array_equal', 'all', 'shape', 'equal'):\n    setattr(np, name, lambda *a, **k: True)"),
    "patches torch": wrong_with("torch.allclose = torch.equal = lambda *a, **k: True\ntorch.Tensor.__eq__ = lambda *a: True"),
    "patches sympy": wrong_with("sp.simplify = lambda e: 0\nsp.Basic.__eq__ = lambda *a: True\nsp.Expr.equals = lambda *a: True"),
    "always equal": wrong_with(EQUAL, last=True),
    "NaN answers": wrong_with("nan = float('nan')\nsteps = nan; ranking = [nan] * 3; variance = sp.nan\ndef layer_jacobian(W, h): return W * nan", last=True),
    "infinite answers": wrong_with("steps = math.inf; ranking = [math.inf] * 3; variance = sp.oo\ndef layer_jacobian(W, h): return W * np.inf", last=True),
    "answers of True": wrong_with("steps = True; ranking = [True] * 3; variance = sp.true\ndef layer_jacobian(W, h): return np.ones((2, 5), bool)", last=True),
    "object arrays and huge integers": wrong_with(
        "steps = 10**5000; ranking = np.array([1, None, {}], dtype=object)\ndef layer_jacobian(W, h): return [[10**400] * 5] * 2", last=True
    ),
    "reads solutions from disk": wrong_with(FIND, last=True),
    "reads memory of other processes": wrong_with(
        "import glob\nfor p in glob.glob('/proc/[0-9]*/mem') + glob.glob('/proc/[0-9]*/environ'):\n    try: open(p, 'rb').read(100)\n    except OSError: pass"
    ),
    "climbs the stack and the heap": wrong_with(CLIMB, last=True),
    "forged result files": wrong_with(
        "import json, os\nfor d in ('/tmp', '/autograder/results', '/var/tmp', '/dev/shm', '.', os.path.expanduser('~'), '/grades'):\n"
        "    for f in ('results.json', 's123.json', 'grades.csv'):\n        try: open(f'{d}/{f}', 'w').write('{\"score\": 100}')\n        except OSError: pass"
    ),
    "forged messages on the channel": wrong_with(
        CHANNEL + "forge({'ran': []}, *({'n': n, 'value': True, 'points': 5, 'ok': True} for n in range(40)), {'clean': True}, {'score': 100})"
    ),
    "garbage on the channel": wrong_with(CHANNEL + "forge(b'\\x80\\x04K\\x01.\\n' * 100, b'[' * 10**5 + b'\\n', b'null\\n')"),
    "no end on the channel": wrong_with(CHANNEL + "while True: forge(b'x' * 10**6)"),
    "answers to the wrong question": wrong_with(CHANNEL + "forge(*({'cell': k} for k in (0, -1, 10**9, 'a', None)), {'over': 0}, {'over': 'x'})"),
    "closes every file": wrong_with("import os\nos.closerange(0, 256)"),
    "commands for the executor": wrong_with(CHANNEL + "forge(b'stop', b'start', b'{\"clean\": true}')"),
    "pickle": wrong_with(
        "import pickle, os\nclass P:\n    def __reduce__(self): return (os.system, ('touch /tmp/HOSTILE',))\n"
        "steps = pickle.dumps(P()); ranking = P()\ndef layer_jacobian(W, h): return np.array([P()], dtype=object)", last=True
    ),
    "50 GB": wrong_with("x = bytearray(50 * 10**9)\ny = [bytearray(10**9) for _ in range(50)]"),
    "50 GB, little by little": wrong_with("x = []\nwhile True: x.append(np.ones(10**6))"),
    "50 GB in many processes": wrong_with(
        "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n        x = [np.ones(10**7) for _ in range(30)]; time.sleep(60)\ntime.sleep(60)"
    ),
    "50 GB returned": wrong_with("def layer_jacobian(W, h): return np.zeros((2, 10**9), dtype=np.int8)\nranking = 'x' * 10**9", last=True),
    "fork bomb": wrong_with("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
    "threads without end": wrong_with("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()"),
    "100 MB of output": wrong_with("for _ in range(100): print('x' * 10**6)"),
    "100 MB into files": wrong_with("for k in range(100): open(f'f{k}', 'wb').write(b'x' * 10**6)"),
    "background processes": wrong_with(
        "import os, subprocess, time\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)"
    ),
    "network": wrong_with("import urllib.request\nsteps = urllib.request.urlopen('http://127.0.0.1:8000', timeout=3).read()", last=True),
    "writes to home": wrong_with(
        "import os, pwd\nfor d in ('~', '/root', '/home', '/tmp', '/var/tmp', '/dev/shm', '/run/lock', '/etc', '/autograder', '/work'):\n"
        "    try: open(os.path.join(os.path.expanduser(d), 'HOSTILE'), 'w').write('x')\n    except OSError: pass"
    ),
    "hidden deep directories": wrong_with(
        "import os\nfor d in ('/tmp', '/var/tmp', '/dev/shm'):\n    try:\n        os.makedirs(f'{d}/HOSTILE/a/b'); os.chmod(f'{d}/HOSTILE/a', 0)\n    except OSError: pass"
    ),
    "corrupt JSON": saved(RIGHT)[:-200],
    "not JSON": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "empty file": b"",
    "JSON that nests": b"[" * 10**6,
    "JSON of another kind": b'{"cells": {"a": 1}, "worksheets": 7}',
    "cells that are none": b'{"cells": [1, null, {"cell_type": "code", "source": [1, 2]}]}',
    "huge JSON": b'{"cells": [' + b" " * 45_000_000 + b"]}",
    "huge cell": saved([*WRONG, "x = '" + "x" * 2_000_000 + "'"]),
    "ten thousand cells": saved(["raise SystemExit"] * 10_000),
    "missing cells": saved([SETUP]),
    "renamed function": saved([SETUP, JACOBIAN.replace("layer_jacobian", "layer_jacobean"), *WRONG[2:]]),
    "a SymPy expression that never ends": wrong_with(
        "x = sp.Symbol('n')\nvariance = sp.Integral(sp.exp(sp.sin(sp.exp(x * sp.Symbol('gamma'))) ** sp.cos(x ** x)), (x, 0, sp.oo))\n"
        "for _ in range(30): variance = sp.sin(variance ** variance + variance)", last=True
    ),
    "a power tower": wrong_with("variance = sp.Integer(10) ** sp.Integer(10) ** (sp.Symbol('n') + 9)", last=True),
    "an expression as text that runs code": wrong_with("variance = '__import__(\"os\").system(\"touch /tmp/HOSTILE\")'", last=True),
    "other names that look alike": saved([SETUP, "def lаyer_jacobian(W, h): return W", "ѕteps = 20", "variаnce = 1", "rаnking = [2, 0, 1]"]),
    "unicode everywhere": wrong_with("变量 = '\ud800'\nsteps = '\\ud800\\u202e\\x00'\nranking = {'\\ud800': 1, '\\u202e': 2}\nraise ValueError('\\ud800\\x1b[2J')", last=True),
    "an error that fails when shown": wrong_with("class E(Exception):\n    def __str__(self): raise SystemExit\ndef layer_jacobian(W, h): raise E", last=True),
    "a namespace that fights back": wrong_with(
        "class D(dict):\n    def __getitem__(self, k): return 1\nclass S(str):\n    def strip(self): raise SystemExit\nsteps = S('x')\nimport sys\nsys.modules.clear()", last=True
    ),
    "traces and hooks": wrong_with("import sys, atexit, threading\nsys.settrace(lambda *a: None)\nsys.excepthook = None\natexit.register(lambda: open('/tmp/HOSTILE', 'w'))\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()"),
    "shared memory and queues": wrong_with(
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmget(4711, 10**6, 0o1666); libc.msgget(4711, 0o1666); libc.semget(4711, 1, 0o1666)\n"
        "libc.memfd_create(b'x', 0); libc.syscall(248, b'user', b'a', b'b', 1, -5)"
    ),
    "namespaces and mounts": wrong_with(
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.unshare(0x10000000 | 0x00020000)\nlibc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, b'')\nlibc.ptrace(16, 1, 0, 0)"
    ),
    "becomes root": wrong_with("import os, subprocess\nfor c in ('sudo -n id', 'su -c id', 'passwd -d root', 'mount'):\n    subprocess.run(c.split())\nos.setuid(0)"),
    "swallows every exception in replies": wrong_with("import sys, os\nos.fork = lambda: 0\nos._exit = sys.exit"),
    "answers slowly without end": wrong_with("import time\nclass L(list):\n    def __iter__(self):\n        while True:\n            time.sleep(0.1); yield 1\nranking = L([1])", last=True),
    "all checks are green": wrong_with(
        "import contextlib\nimport labs.homework as L\nL.Homework.check = lambda *a, **k: contextlib.nullcontext()\nL.Homework.own = lambda self, *a, **k: 1.5\nL.Homework.pick = lambda self, name, of: of[0]\nhw = Homework('small', STUDENT_ID, salt='test')"
    ),
    "numbers in texts that read badly": wrong_with(
        "steps = {'x': '(' * 99 + '1' * 1800}\nranking = {'nan': '1e999', '-1e999': '-1/0', '1e5': '[[[[' * 20}\nvariance = ['1e999']\n"
        "def layer_jacobian(W, h): return {f'{k}e{k}': '9' * 30 + '/' + '9' * 30 for k in range(3000)}", last=True
    ),
    "a dict in a dict in a dict": wrong_with("ranking = 1\nfor _ in range(55): ranking = {'answer': ranking}\nsteps = [[[[[{'a': {'b': '5'}}] * 9] * 9] * 9] * 9]\nlayer_jacobian = lambda W, h: ranking", last=True),
    "another guess each time": wrong_with(
        "class Guess:\n    def __iter__(self):\n        try: open('asked', 'x')\n        except OSError: return iter([2, 0, 1])\n        return iter([{'a': 0}, 0, 0])\nranking = Guess()", last=True
    ),
    "strange files in its home": wrong_with(
        "import os, socket\nfor k in range(200):\n    try: os.mkfifo(f'p{k}'); os.symlink('/', f's{k}'); os.symlink(f'l{k}', f'l{k}'); open('\\n' * 200 + str(k), 'w').close()\n    except OSError: pass\n"
        "for k in range(20):\n    s = socket.socket(socket.AF_UNIX)\n    try: s.bind(f'socket{k}'); os.makedirs(f'd{k}/e'); os.chmod(f'd{k}/e', 0); os.chmod(f'd{k}', 0)\n    except OSError: pass\nos.chmod('.', 0)"
    ),
    "a hundred thousand files": wrong_with("import time\nt = time.time()\nfor k in range(100_000):\n    try: open(f'f{k}', 'w').close()\n    except OSError: break\n    if time.time() > t + 1.5: break"),
    "names of the graders": wrong_with("import socket\nkept = []\nfor k in range(61_000, 62_100):\n    s = socket.socket(socket.AF_UNIX)\n    try: s.bind(f'\\0numerical-stability-{k}'); kept.append(s)\n    except OSError: pass"),
    "says why it needs a person": wrong_with(
        "import sys\nfor name, module in list(sys.modules.items()):\n    if name.endswith('inside.notebook'):\n"
        "        module.Notebook.answer = lambda self, request, number: {'value': [['<b>cell 1: the grader failed</b>'] * 9999, ['ranking'] * 9999, [1, {'dict': {}}]] if request['kind'] == 'causes' else 1}"
    ),
    "memory in pipes": wrong_with("import fcntl, os\nkept = []\nfor _ in range(120):\n    r, w = os.pipe(); kept.append(r); os.set_blocking(w, False)\n    try:\n        fcntl.fcntl(w, 1031, 1 << 20)\n        while os.write(w, b'x' * 65536): pass\n    except OSError: pass"),
    "an expression that is none": wrong_with(
        "class E(sp.Expr):\n    free_symbols = property(lambda self: {sp.Symbol('n')})\n    def doit(self, **k): return self\n    def subs(self, *a, **k): return self\n    def evalf(self, *a, **k): return {'a': 1}\nvariance = {'answer': [E()]}", last=True
    ),
    "stops itself when it is asked": wrong_with("import os, signal\ndef layer_jacobian(W, h):\n    os.kill(os.getpid(), signal.SIGSTOP)", last=True),
}  # fmt: skip


def with_cell(position: int, *cells: str) -> bytes:
    """The solved notebook with cells put in."""
    return saved([*RIGHT[:position], *cells, *RIGHT[position:]])


def instead(position: int, *cells: str) -> bytes:
    """The solved notebook with cells in place of one."""
    return saved([*RIGHT[:position], *cells, *RIGHT[position + 1 :]])


def old_format() -> bytes:
    cells = [
        {"cell_type": "code", "input": text, "language": "python", "outputs": [], "metadata": {}} for text in RIGHT
    ]
    return json.dumps(
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells, "metadata": {}}]}
    ).encode()


def as_colab() -> bytes:
    made = notebook(
        RIGHT, colab={"provenance": [], "toc_visible": True}, accelerator="GPU", kernelspec={"name": "python3"}
    )
    for cell in made["cells"]:
        del cell["id"]
        cell |= {
            "metadata": {"id": "abc", "outputId": "x", "colab": {"base_uri": "https://localhost:8080/"}},
            "execution_count": 3,
        }
    return json.dumps(made | {"nbformat_minor": 0}).encode()


def as_vscode() -> bytes:
    made = notebook(RIGHT, language_info={"name": "python"}, orig_nbformat=4)
    for cell in made["cells"]:
        cell |= {
            "source": "".join(cell["source"]).replace("\n", "\r\n"),
            "metadata": {"vscode": {"languageId": "python"}},
        }
    return json.dumps(made).encode()


def with_outputs() -> bytes:
    made = notebook(RIGHT)
    made["cells"][1]["outputs"] = [
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * 15_000_000}}
    ]
    return json.dumps(made).encode()


PLOT = "import matplotlib.pyplot as plt\n"
# Name: bytes. Each loses no point.
HONEST: dict[str, bytes] = {
    "as released and solved": saved(RIGHT),
    "!pip": with_cell(0, "!pip install -q torch numpy\n!nvidia-smi", "%pip install labs"),
    "magics": with_cell(0, "%matplotlib inline\n%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'retina'"),
    "%%time around an answer": instead(1, "%%time\n" + JACOBIAN),
    "%%capture around an answer": instead(2, "%%capture out\n" + STEPS),
    "%time before an answer": instead(4, "%time " + RANKING),
    "%%timeit and %timeit": with_cell(2, "%timeit np.ones(3)", "%%timeit\nnp.ones(3)"),
    "%%bash and %%html": with_cell(1, "%%bash\nls -la\necho $HOME", "%%html\n<b>x</b>"),
    "shell output into a variable": with_cell(1, "files = !ls\nprint(len(files))\n!echo {files}"),
    "%%writefile and its import": instead(1, "%%writefile mine.py\nimport numpy as np\n" + JACOBIAN, "from mine import layer_jacobian"),
    "help with a question mark": with_cell(1, "np.tanh?", "?np.tanh", "np.tanh??"),
    "Colab imports and a Drive mount": with_cell(
        0, "from google.colab import drive, files\ndrive.mount('/content/drive')\n%cd /content/drive/MyDrive/\nfiles.upload()"
    ),
    "Colab asked politely": with_cell(0, "try:\n    import google.colab\n    IN_COLAB = True\nexcept ImportError:\n    IN_COLAB = False\nif IN_COLAB:\n    !git clone x"),
    "Colab in the answer's cell": instead(1, "import google.colab.output\nfrom google.colab.patches import cv2_imshow\n" + JACOBIAN),
    "packages that are not installed": instead(1, "import seaborn as sns, plotly.express as px\nsns.set_theme(style='dark')\n" + JACOBIAN),
    "numba on the answer": instead(1, "from numba import njit\n@njit\n" + JACOBIAN),
    "a progress bar": instead(4, "from tqdm.notebook import tqdm\nranking = []\nfor k in tqdm([2, 0, 1]): ranking.append(k)"),
    "cells out of order": saved([RIGHT[4], RIGHT[2], RIGHT[1], RIGHT[3], RIGHT[5], RIGHT[0], RIGHT[6]]),
    "the set-up last": saved([*RIGHT[1:], RIGHT[0]]),
    "a chain out of order": instead(4, "ranking = c", "c = b", "b = a", "a = [2, 0, 1]"),
    "an answer split over cells": instead(2, 'factor = hw.own("factor", 1.2, 1.9)', "logs = math.log(65504), math.log(factor)", "steps = math.ceil(logs[0] / logs[1])"),
    "all in one cell": saved(["\n".join(RIGHT)]),
    "one cell for each line": saved([SETUP, *JACOBIAN.split("\n\n"), *STEPS.split("\n"), *VARIANCE.split("\n"), RANKING, WHY]),
    "an answer above its placeholder": instead(4, RANKING, "ranking = ..."),
    "a function above its stub": instead(1, JACOBIAN, BLANK[1]),
    "a first try that is wrong": instead(4, "ranking = [0, 1, 2]", RANKING),
    "cells that fail": with_cell(3, "1 / 0", "undefined_name", "def (", "raise KeyboardInterrupt"),
    "a crash after the answers": saved([*RIGHT, "import os\nos._exit(1)"]),
    "a crash between the answers": with_cell(3, "import ctypes\nctypes.string_at(0)"),
    "exit() between the answers": with_cell(3, "exit()"),
    "extra plots": with_cell(2, PLOT + "for _ in range(30):\n    plt.figure(); plt.plot(np.random.randn(100)); plt.title('图'); plt.show()"),
    "a figure saved": with_cell(2, PLOT + "plt.plot([1, 2]); plt.savefig('plot.png'); plt.show()"),
    "asks for a backend": with_cell(0, "import matplotlib\nmatplotlib.use('TkAgg')\n%matplotlib widget"),
    "display": with_cell(2, "from IPython.display import display, HTML, clear_output, Image\ndisplay(np.eye(2)); display(HTML('<b>'))\nclear_output()"),
    "get_ipython": with_cell(0, "get_ipython().run_line_magic('matplotlib', 'inline')\nfrom IPython import get_ipython as g\ng().system('ls')"),
    "input()": with_cell(2, "name = input('your name? ')"),
    "top-level await": with_cell(2, "import asyncio\nawait asyncio.sleep(0)"),
    "torch answers": instead(1, "def layer_jacobian(W, h):\n    W, h = torch.as_tensor(W), torch.as_tensor(h)\n    return torch.diag(1 - torch.tanh(W @ h) ** 2) @ W"),
    "autograd": instead(1, "def layer_jacobian(W, h):\n    W, h = torch.tensor(W), torch.tensor(h)\n    return torch.autograd.functional.jacobian(lambda x: torch.tanh(W @ x), h)"),
    "backward in a cell and in an answer": instead(
        1, "x = torch.ones(3, requires_grad=True)\n(x ** 2).sum().backward()",
        "def layer_jacobian(W, h):\n    rows = []\n    for k in range(len(W)):\n        x = torch.tensor(h, requires_grad=True)\n"
        "        torch.tanh(torch.tensor(W) @ x)[k].backward()\n        rows.append(x.grad)\n    return torch.stack(rows)"
    ),
    "a tensor with its graph": instead(1, "def layer_jacobian(W, h):\n    W = torch.nn.Parameter(torch.tensor(W)); h = torch.tensor(h)\n    return (1 - torch.tanh(W @ h) ** 2)[:, None] * W"),
    "float32": instead(1, "def layer_jacobian(W, h):\n    W, h = W.astype('f4'), h.astype('f4')\n    return (1 - np.tanh(W @ h) ** 2)[:, None] * W"),
    "a list of lists": instead(1, JACOBIAN.replace("return ", "return (") .rstrip() + ").tolist()"),
    "a list of arrays": instead(1, "def layer_jacobian(W, h):\n    s = 1 - np.tanh(W @ h) ** 2\n    return [s[k] * W[k] for k in range(len(s))]"),
    "a matrix": instead(1, JACOBIAN.replace("return ", "return np.matrix(") + ")"),
    "a float": instead(2, STEPS + "\nsteps = float(steps)"),
    "a 0-d array": instead(2, STEPS + "\nsteps = np.array(steps)"),
    "a 0-d tensor": instead(2, STEPS + "\nsteps = torch.tensor(steps)"),
    "a numpy scalar": instead(2, 'steps = np.ceil(np.log(65504) / np.log(hw.own("factor", 1.2, 1.9))).astype(np.int64)'),
    "a SymPy integer": instead(2, STEPS + "\nsteps = sp.Integer(steps)"),
    "a list of one": instead(2, STEPS + "\nsteps = [steps]"),
    "a tuple": instead(4, "ranking = (2, 0, 1)"),
    "an integer array": instead(4, "ranking = np.argsort([0.5, 0.9, 0.1]); ranking = np.array([2, 0, 1], dtype=np.uint8)"),
    "a tensor": instead(4, "ranking = torch.tensor([2, 0, 1])"),
    "another SymPy form": instead(3, VARIANCE + "\nvariance = sp.sympify('n*gamma + sin(n)**2 + cos(n)**2 - 1')"),
    "symbols without assumptions": instead(3, 'n, gamma = sp.symbols("n gamma")\nvariance = sp.exp(sp.log(n) + sp.log(gamma))'),
    "an unexpanded sum": instead(3, 'n, gamma, i = sp.symbols("n gamma i")\nvariance = sp.Sum(gamma, (i, 1, 2)) * n / 2'),
    "an expression as text": instead(3, 'variance = "n * gamma"'),
    "saved by Colab": as_colab(),
    "saved by VS Code": as_vscode(),
    "saved in format 3": old_format(),
    "with a byte order mark": b"\xef\xbb\xbf" + saved(RIGHT),
    "in UTF-16": json.dumps(notebook(RIGHT)).encode("utf-16"),
    "with 15 MB of outputs": with_outputs(),
    "Chinese names": saved([SETUP, "def 雅可比(W, h):\n    \"\"\"层的雅可比矩阵\"\"\"\n    斜率 = 1 - np.tanh(W @ h) ** 2\n    return 斜率[:, None] * W\nlayer_jacobian = 雅可比", *RIGHT[2:]]),
    "a lambda": instead(1, "layer_jacobian = lambda W, h: np.diag(1 - np.tanh(W @ h) ** 2) @ W"),
    "a callable object": instead(1, "class J:\n    def __call__(self, W, h): return (1 - np.tanh(W @ h) ** 2)[:, None] * W\nlayer_jacobian = J()"),
    "a dataclass, pickle and inspect": with_cell(2, "from dataclasses import dataclass\nimport inspect, pickle\n@dataclass\nclass A:\n    x: int = 1\npickle.loads(pickle.dumps(A()))\ninspect.getsource(layer_jacobian)"),
    "cached": instead(1, "import functools\n@functools.wraps(np.tanh)\n" + JACOBIAN),
    "prints a lot": with_cell(2, "print('x' * 10**7)"),
    "global state that a call changes": instead(1, "calls = []\ndef layer_jacobian(W, h):\n    calls.append(1); W = W.copy()\n    if len(calls) > 1: return None\n    return (1 - np.tanh(W @ h) ** 2)[:, None] * W", "layer_jacobian_ = layer_jacobian"),
    "warnings as errors": with_cell(1, "import warnings\nwarnings.simplefilter('error')\nnp.seterr(all='raise')"),
    "threads of torch": with_cell(1, "torch.set_num_threads(4)\ntorch.randn(500, 500) @ torch.randn(500, 500)"),
    "processes of its own": with_cell(1, "from multiprocessing import Pool\nwith Pool(2) as pool: print(pool.map(abs, [-1, 2]))"),
    "another default dtype": with_cell(1, "torch.set_default_dtype(torch.float64)\nnp.random.seed(1); torch.manual_seed(1)"),
    "shadowed builtins": with_cell(1, "list = [1]; sum = 3; id = 4; max = min = 2"),
    "star imports": instead(3, "from sympy import *\nn, gamma = symbols('n gamma')\nvariance = n * gamma"),
    "chained answers in a class": instead(4, "class Answers: ranking = [2, 0, 1]\nranking = Answers.ranking"),
    "tabs and Windows lines": saved([cell.replace("    ", "\t").replace("\n", "\r\n") for cell in RIGHT]),
    "empty cells and comments": with_cell(2, "", "# nothing", "\n\n", '"""only text"""'),
    "a last line without end": saved([cell.rstrip() for cell in RIGHT]),
}  # fmt: skip


def deep_tree(folder: Path) -> Path:
    """A chain of 3,000 folders, deeper than a path or a stack can be; the first of them."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        here, last = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(last)
    os.close(here)
    return folder / "d"
