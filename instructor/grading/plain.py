"""Plain data, the only thing that crosses between student code and the checks, and how an answer becomes plain data.

Both sides import this module, the sandbox included: it holds nothing secret. :func:`decode` is what the checks' side
trusts; whatever a message holds, it becomes None, bool, int, float, complex, str, list, dict or a numeric array, or it
raises ValueError. :func:`answer` runs beside the student's code.
"""

from __future__ import annotations

import base64
import difflib
import json
import math
import numbers
import sys
from typing import Any

import numpy as np

LIMIT = 8_000_000  # characters of one message
DTYPES = {np.dtype(t).str for t in "?bhilqBHILQefdFD"}


def encode(value: Any) -> Any:
    """What JSON can carry of ``value``; TypeError names the type that is not plain data."""
    if value is None or (isinstance(value, bool | str | int | float) and not hasattr(value, "dtype")):
        return value
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    if hasattr(value, "dtype") and hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.ndim == 0 or array.dtype.str not in DTYPES:
            return encode(array.astype(float) if array.dtype.char in "gG>" else array.tolist())
        return {"array": [array.dtype.str, array.shape, base64.b64encode(array.tobytes()).decode()]}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {str(key): encode(item) for key, item in value.items()}}
    sympy = sys.modules.get("sympy")
    if sympy and isinstance(value, sympy.MatrixBase):
        return encode(np.array(value.tolist(), dtype=float))
    if sympy and isinstance(value, sympy.Expr):  # a number such as sqrt(2); others have no value
        value = int(value) if value.is_Integer else complex(value)
        return encode(value.real if isinstance(value, complex) and value.imag == 0 else value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, numbers.Number):
        return float(value)  # type: ignore[arg-type]
    raise TypeError(f"a {type(value).__name__}, which is neither a number, a text, an array nor a list of them")


def decode(value: Any) -> Any:
    """The inverse of :func:`encode` for untrusted JSON; ValueError for what :func:`encode` cannot have written."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        [(kind, body)] = value.items()
        if kind == "dict" and isinstance(body, dict):
            return {decode(key): decode(item) for key, item in body.items()}
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


def dumps(message: Any) -> bytes:
    """One message as a line; ValueError if it is longer than LIMIT."""
    line = json.dumps(message).encode() + b"\n"
    if len(line) > LIMIT:
        raise ValueError(f"larger than {LIMIT:,} characters")
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


def answer(namespace: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request: ``{"value": …}``, ``{"unanswered": …}`` or ``{"failed": why}``."""
    name = request["name"]
    if name not in namespace:
        alike = difflib.get_close_matches(name, [key for key in namespace if not key.startswith("_")], 1)
        renamed = f" (there is `{alike[0]}`: was it renamed?)" if alike else ""
        return {"failed": f"there is no `{name}` in the notebook{renamed}", "renamed": bool(alike)}
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
    except NotImplementedError as error:
        stub = str(error) == "" or str(error).startswith("question")
        return {"unanswered": True} if stub else {"failed": reason(error)}
    except TypeError as error:
        return {"failed": f"`{name}`: {reason(error)}"}
    except BaseException as error:
        return {"failed": f"`{name}` stops with {reason(error)}"}


def answer_line(namespace: dict[str, Any], line: bytes) -> bytes:
    """:func:`answer` for a request and a reply as they cross, with the request's number ``n``."""
    request = loads(line)
    reply = answer(namespace, request)
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


def _at(expression: Any, point: dict[str, float]) -> Any:
    import sympy

    expression = sympy.sympify(expression, locals={name: sympy.Symbol(name) for name in point})
    if not isinstance(expression, sympy.Expr):
        raise TypeError(f"expected an expression, got a {type(expression).__name__}")
    values = {symbol: point[symbol.name] for symbol in expression.free_symbols if symbol.name in point}
    unknown = sorted(symbol.name for symbol in expression.free_symbols if symbol not in values)
    if unknown:
        raise ValueError(f"the expression holds {', '.join(unknown)}; expected only {', '.join(sorted(point))}")
    return expression.doit().subs(values).evalf()
