"""Chapter 8."""

import math

import numpy as np

from bookext.check.case import Case, Generator, Meaning

from .spaces import constant, uniforms


def softmax(rng: Generator) -> list[Case]:
    z = list(rng.normal(size=4))
    return [Case({"z": z, "i": i, r"z_\text{max}": sorted(z)[-1]}, ranges={"j": range(1, 5)}) for i in (1, 3)]


NAN = "NaN, whatever it is added to or multiplied with"


MEANINGS: dict[str, Meaning] = {
    "eq-nan-inf": Meaning(constant({"e": np.float32(math.e)}, number=np.float32), true={
        r"frac[1 -> 2]0": "any positive number over 0 is Inf",
        **dict.fromkeys((r"[10 -> 11]^{20}", r"10^{[20 -> 21]}"), "larger still")}),
    "eq-nan-born": Meaning(constant(), true={
        r"\sqrt{-[1 -> 2]}": "any negative number", r"[0 -> 1] \cdot \mathrm": NAN}),
    "eq-nan-mask": Meaning(constant(), true={r"[0 -> 1] \cdot \mathrm": NAN}),
    "eq-nan-softmax": Meaning(softmax),
    "eq-nan-where": Meaning(constant({"p": 0.0}), true={
        r"\log p [+ -> -] p": NAN, r"\mathrm{Inf} [+ -> -] 0": NAN, r"([- -> +]\mathrm{Inf}": NAN, r"[0 -> 1] \cdot": NAN,
        r"\tfrac[1 -> 2]p": "0 times Inf all the same"}),
    "eq-nan-slope": Meaning(uniforms("z")),
}  # fmt: skip
