"""Chapter 9."""

from bookext.check.stress import Conditions

CLAIMS: dict[str, Conditions] = {
    "sum-three-keep": Conditions(
        holds={"both_ways.n": ("_ // 2", "2 * _"), "both_ways.depth": ("_ // 2",)},
        beyond={"both_ways.depth": ("2 * _",)},
    ),
    "sum-sigmoid-row": Conditions(
        holds={"both_ways.n": ("_ // 2", "2 * _"), "both_ways.depth": ("2 * _",)},
        beyond={"both_ways.depth": ("_ // 2",)},
    ),
    "sum-sigmoid-stands": Conditions(
        holds={"rates": ("[3 * r for r in _]", "[0.1, 0.2, 0.3, 0.5, 1.0]"), "steps": ("_ // 2", "2 * _")},
    ),
    "sum-others-train": Conditions(
        holds={"rates": ("[0.1, 0.2, 0.3, 0.5, 1.0]",), "steps": ("2 * _",)},
        beyond={"rates": ("[3 * r for r in _]",), "steps": ("_ // 2",)},
    ),
    "sum-tanh-n": Conditions(
        holds={"rates": ("[0.1, 0.2, 0.3, 0.5, 1.0]",)},
        beyond={"rates": ("[3 * r for r in _]",), "steps": ("_ // 2", "2 * _")},
    ),
}

SAID: dict[str, str] = {
    "Name an activation": "task",
}
