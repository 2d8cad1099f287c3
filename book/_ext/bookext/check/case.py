"""What an entry of the table of meanings is made of: the values that symbols have, case by case."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

Values = dict[str, Any]
Array = np.ndarray
Generator = np.random.Generator


class Up(list[Any]):
    """One value a layer, picked by a superscript: h^t is ``h[t]``."""


class Down(list[Any]):
    """One value a layer, picked by a subscript: n_t is ``n[t]``."""


class Derived:
    """A value computed from other symbols at each look-up, as they may move: a limit's variable, an integral's."""

    def __init__(self, compute: Callable[[Mapping[str, Any]], Any]) -> None:
        self.compute = compute


@dataclass(frozen=True)
class Case:
    r"""One way in which the symbols of an equation get values.

    - ``symbols``: from a symbol, as the page writes it, to its value;
    - ``ranges``: of an index that the page sums over without bounds, or leaves free;
    - ``sums``: the steps of an index described in words, each with the symbols that it sets;
    - ``partial``: gives the derivative of one symbol by another, times a number;
    - ``bare``: for each expression that stands without a relation, in order, its name and what it should be;
    - ``only``: the numbers, from 0, of the relations that this case decides; None for all;
    - ``fails``: the equation is a condition, and here it must *not* be met;
    - ``also``: for a proportionality, the symbols of a second case that have other values there;
    - ``number``: how a numeral is read, such as ``np.float32``.
    """

    symbols: Values
    ranges: Mapping[str, range] = field(default_factory=dict)
    sums: Mapping[str, Sequence[Values]] = field(default_factory=dict)
    partial: Callable[..., Any] | None = None
    bare: Mapping[str, Any] = field(default_factory=dict)
    only: Sequence[int] | None = None
    fails: bool = False
    also: Values = field(default_factory=dict)
    number: Callable[[str], Any] = float

    def put(self, symbols: Mapping[str, Any], **fields: Any) -> Self:
        """The same with some symbols, or other fields, set anew."""
        return replace(self, symbols={**self.symbols, **symbols}, **fields)


@dataclass(frozen=True)
class Meaning:
    """What an equation is compared with.

    - ``cases``: from a random generator to the cases in which it must hold;
    - ``loose``: the relative tolerance of what the page calls approximate or a limit; ``rtol`` of everything else;
    - ``words``: pieces of the text that stand for one symbol, and the symbol that takes their place.

    For the mutations: ``alike`` are indices that the page's assumptions make interchangeable; ``true`` names changed texts that
    still state a truth, and says why.
    """

    cases: Callable[[Generator], Sequence[Case]]
    loose: float = 1e-3
    rtol: float = 1e-9
    words: Mapping[str, str] = field(default_factory=dict)
    alike: str = ""
    true: Mapping[str, str] = field(default_factory=dict)
