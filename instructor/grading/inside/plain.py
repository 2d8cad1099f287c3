"""Plain data, the only thing that crosses between student code and the checks, and how an answer becomes plain data.

Both sides import this module, the sandbox included: it holds nothing secret. :func:`decode` is what the checks' side
trusts; whatever a message holds, it becomes None, bool, int, float, complex, str, list, dict or a numeric array, or it
raises ValueError. :func:`answer` runs beside the student's code.
"""

from __future__ import annotations

import base64
import dataclasses
import difflib
import itertools
import json
import math
import numbers
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

LIMIT = 2_000_000  # characters of an answer
DEEPEST = 60  # lists in lists
PADDED = 50_000_000  # characters of the texts of a list, were they all as long as the longest: what an array takes
ITEMS = 100_000  # of what is no sequence, such as a generator
DTYPES = {np.dtype(t).str for t in "?bhilqBHILQefdFD"}


def encode(value: Any) -> Any:
    """What JSON can carry of ``value``; TypeError names the type that is not plain data."""
    if value is None or (isinstance(value, bool | str | int | float) and not hasattr(value, "dtype")):
        return value
    if type(value).__name__ == "Stub":
        raise Unclear("it comes from a package that is not installed here")
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = _of_tensor(value)
    value = value.toarray() if hasattr(value, "toarray") else value  # SciPy's sparse matrices
    if hasattr(value, "dtype") and hasattr(value, "__array__"):
        return _of_array(np.asarray(value))
    for kind, write in FORMS:
        if isinstance(value, _sympy(kind) if isinstance(kind, str) else kind):
            return write(value)
    if type(value).__module__.startswith("IPython.") and isinstance(getattr(value, "data", None), str):
        return value.data
    for name, write in (("__array__", np.asarray), ("__float__", float), ("__iter__", _items)):  # other libraries'
        if hasattr(type(value), name):
            return encode(write(value))
    if dataclasses.is_dataclass(value) or isinstance(value, types.SimpleNamespace):
        return encode(dict(vars(value)))
    raise Unclear(f"a {type(value).__name__}, which is neither a number, a text, an array nor a list of them")


class Unclear(TypeError):
    """An answer that could not be computed here, or is nothing that a check compares; a person should look."""


def _items(value: Any) -> list[Any]:
    found = list(itertools.islice(value, ITEMS + 1))
    if not found and hasattr(value, "__next__"):
        raise Unclear("an iterator that a cell has used up")
    if len(found) > ITEMS:
        raise TypeError(f"more than {ITEMS:,} items")
    return found


def _of_tensor(tensor: Any) -> np.ndarray:
    dense = tensor.detach().cpu().to_dense() if tensor.is_sparse else tensor.detach().cpu()
    dense = dense.resolve_conj().resolve_neg()
    return (dense if dense.dtype.itemsize > 2 or not dense.is_floating_point() else dense.float()).numpy()


def _of_array(array: np.ndarray) -> Any:
    if array.ndim == 0 or array.dtype.str not in DTYPES:
        return encode(array.astype(float) if array.dtype.char in "gG>" else array.tolist())
    return {"array": [array.dtype.str, array.shape, base64.b64encode(array.tobytes()).decode()]}


def _of_expression(expression: Any) -> Any:
    value = int(expression) if expression.is_Integer else complex(expression)
    return encode(value.real if isinstance(value, complex) and value.imag == 0 else value)


def _sympy(name: str) -> Any:
    """A class of SymPy, or no class where nobody has imported SymPy."""
    sympy = sys.modules.get("sympy.logic.boolalg" if name.startswith("Boolean") else "sympy")
    return getattr(sympy, name) if sympy else ()


FORMS: list[tuple[Any, Callable[[Any], Any]]] = [  # the first that fits; SymPy's numbers are numbers.Number too
    (list | tuple | range | set | frozenset, lambda value: [encode(item) for item in value]),
    (dict, lambda value: {"dict": {str(key): encode(item) for key, item in value.items()}}),
    ("MatrixBase", lambda value: encode(np.array(value.tolist(), dtype=float))),
    ("BooleanTrue", bool),
    ("BooleanFalse", bool),
    ("Expr", _of_expression),  # a number such as sqrt(2); others have no value
    (bytes, lambda value: value.decode("utf8", "replace")),
    (complex, lambda value: {"complex": [value.real, value.imag]}),
    (numbers.Number, float),
]


def decode(value: Any) -> Any:
    """The inverse of :func:`encode` for untrusted JSON; ValueError for what :func:`encode` cannot have written.

    Nor does it pass on a list that NumPy would make an array of gigabytes from, since each text in one is as long as the
    longest.
    """
    decoded = _decode(value, 0)
    leaves, longest = _texts(decoded)
    if leaves * longest > PADDED:
        raise ValueError("too long in its texts")
    return decoded


def _texts(value: Any) -> tuple[int, int]:
    """How many values a list holds, and the length of the longest text among them."""
    if not isinstance(value, list | dict):
        return 1, len(value) if isinstance(value, str) else 0
    inner = [_texts(item) for item in (value.values() if isinstance(value, dict) else value)]
    return sum(n for n, _ in inner), max((longest for _, longest in inner), default=0)


def _decode(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if value is None or isinstance(value, bool | int | float | str):
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
    if isinstance(value, list):
        return [_decode(item, depth + 1) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        [(kind, body)] = value.items()
        if kind == "dict" and isinstance(body, dict):
            return {_decode(key, depth): _decode(item, depth + 1) for key, item in body.items()}
        if kind == "complex" and isinstance(body, list) and [type(x) for x in body] == [float, float]:
            return complex(*body)
        if kind == "array" and isinstance(body, list) and len(body) == 3:
            return _array(*body)
    raise ValueError("not plain data")


def _array(dtype: Any, shape: Any, data: Any) -> np.ndarray:
    known = isinstance(dtype, str) and dtype in DTYPES and isinstance(data, str) and isinstance(shape, list)
    if not known or len(shape) > 8 or not all(type(n) is int and 0 <= n <= LIMIT for n in shape):
        raise ValueError("not a numeric array")
    raw = base64.b64decode(data, validate=True)
    if math.prod(shape) * np.dtype(dtype).itemsize != len(raw):
        raise ValueError("an array whose shape and length differ")
    return np.frombuffer(raw, dtype=dtype).reshape(shape).copy()


def dumps(message: Any, limit: int = LIMIT) -> bytes:
    """One message as a line; ValueError if it is longer than ``limit``."""
    line = json.dumps(message).encode() + b"\n"
    if len(line) > limit:
        raise ValueError(f"larger than {limit:,} characters")
    return line


def loads(line: bytes) -> Any:
    """The message of a line; ValueError for anything that is not JSON within the limits."""
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None


# What follows runs beside the student's code (or, for LocalStudent, beside a trusted reference).


def is_blank(value: Any) -> bool:
    """Whether an answer is still the placeholder of the released notebook."""
    return value is ... or (isinstance(value, str) and value.strip() in ("", "...", "…"))


def reason(error: BaseException) -> str:
    """An error in one short line."""
    try:
        text = " ".join(f"{type(error).__name__}: {error}".split())
    except BaseException:
        text = "an error without a message"
    return text if len(text) <= 300 else text[:299] + "…"


def answer(
    namespace: dict[str, Any], request: dict[str, Any], mend: Callable[[BaseException], bool] = lambda error: False
) -> dict[str, Any]:
    """The reply to a request: ``{"value": …}``, ``{"unanswered": …}`` or ``{"failed": why}``, ``"person"`` if one should look.

    ``mend`` may help against an error, and says whether it is worth another try.
    """
    name = request["name"]
    if name not in namespace:
        alike = difflib.get_close_matches(name, [key for key in namespace if not key.startswith("_")], 1)
        renamed = f" (there is `{alike[0]}`: was it renamed?)" if alike else ""
        return {"failed": f"there is no `{name}` in the notebook{renamed}", "person": True}
    target = namespace[name]
    if is_blank(target):
        return {"unanswered": True}
    try:
        if request["kind"] == "value":
            value = target
        elif request["kind"] == "symbolic":
            value = [_at(target, point) for point in decode(request["points"])]
        elif not callable(target):
            return {"failed": f"`{name}` is a {type(target).__name__}, not a function"}
        else:
            value = target(*_arguments(request["args"], request), **_arguments(request["kwargs"], request))
            if value is ...:
                return {"unanswered": True}
            if value is None:
                return {"failed": f"`{name}` returns nothing (is a `return` missing?)"}
        return {"value": encode(value)}
    except BaseException as error:
        if mend(error):
            return answer(namespace, request, mend)
        if isinstance(error, NotImplementedError) and (str(error) == "" or str(error).startswith("question")):
            return {"unanswered": True}
        said = f"`{name}`: " if isinstance(error, TypeError) else f"`{name}` stops with "
        return {
            "failed": said + reason(error),
            "person": isinstance(error, OSError | ImportError | MemoryError | Unclear),
        }


def answer_line(
    namespace: dict[str, Any], line: bytes, mend: Callable[[BaseException], bool] = lambda error: False
) -> bytes:
    """:func:`answer` for a request and a reply as they cross, with the request's number ``n``."""
    request = loads(line)
    reply = answer(namespace, request, mend)
    try:
        return dumps({"n": request.get("n"), **reply})
    except ValueError as error:
        return dumps({"n": request.get("n"), "failed": f"the answer is {error}"})


def _arguments(encoded: Any, request: dict[str, Any]) -> Any:
    def tensor(value: Any) -> Any:
        return sys.modules["torch"].from_numpy(value) if isinstance(value, np.ndarray) else value

    plain = decode(encoded)
    if not request["torch"]:
        return plain
    import torch  # noqa: F401

    return {k: tensor(v) for k, v in plain.items()} if isinstance(plain, dict) else [tensor(v) for v in plain]


def _only(value: Any) -> Any:
    """What a container of one thing holds; None for whatever else there is."""
    value = vars(value) if isinstance(value, types.SimpleNamespace) else value
    items = list(value.values()) if isinstance(value, dict) else value
    items = items.ravel().tolist() if isinstance(items, np.ndarray) else items
    return next(iter(items)) if isinstance(items, list | tuple | set) and len(items) == 1 else None


def _at(expression: Any, point: dict[str, float]) -> Any:
    import sympy

    while not isinstance(expression, str | sympy.Basic) and (one := _only(expression)) is not None:
        expression = one
    try:
        expression = sympy.sympify(expression, locals={name: sympy.Symbol(name) for name in point})
    except sympy.SympifyError as error:
        raise Unclear(f"no expression: {error}") from None
    if not isinstance(expression, sympy.Expr):
        raise Unclear(f"expected an expression, got a {type(expression).__name__}")
    values = {symbol: point[symbol.name] for symbol in expression.free_symbols if symbol.name in point}
    unknown = sorted(symbol.name for symbol in expression.free_symbols if symbol not in values)
    if unknown:
        raise ValueError(f"the expression holds {', '.join(unknown)}; expected only {', '.join(sorted(point))}")
    return expression.doit().subs(values).evalf()
