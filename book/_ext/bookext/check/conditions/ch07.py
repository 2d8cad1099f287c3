"""Chapter 7."""

from bookext.check.stress import Conditions

CLAIMS: dict[str, Conditions] = {
    "act-both-repairs": Conditions(
        holds={"shares.input_variance": ("_ / 4", "4 * _"), "shares.depth": ("2 * _",)},
        beyond={"shares.depth": ("3", "5", "_ // 2")}, draws=0),
    "act-sinh-scatter": Conditions(beyond={"blow_up_layers.n": ("_ // 2", "2 * _")}),
    "act-below-mean-field": Conditions(share=0.8, beyond={"sizes_of_nets.n": ("_ // 2", "2 * _"), "sizes_of_nets.nets": ("2 * _",)}),
    "act-stay": Conditions(
        holds={"rate": ("_ / 3",), "compare.steps": ("_ // 2", "2 * _"), "compare.depth": ("2 * _",)},
        beyond={"rate": ("3 * _", "10 * _"), "compare.depth": ("_ // 2",)}),
    "act-scaled-learns": Conditions(
        holds={"rate": ("3 * _",), "compare.steps": ("2 * _",), "compare.depth": ("_ // 2",)},
        beyond={"rate": ("_ / 3", "10 * _"), "compare.steps": ("_ // 2",), "compare.depth": ("2 * _",)}),
    "act-order": Conditions(
        holds={"rate": ("_ / 3", "3 * _"), "compare.steps": ("_ // 2", "2 * _"), "compare.depth": ("_ // 2", "2 * _")},
        beyond={"rate": ("10 * _",)}),
    "act-softsign": Conditions(
        holds={"rate": ("_ / 3",), "compare.steps": ("_ // 2",), "compare.depth": ("2 * _",)},
        beyond={"rate": ("3 * _",), "compare.steps": ("2 * _",), "compare.depth": ("_ // 2",)}),
    "act-relu-he": Conditions(
        share=0.7, beyond={"rate": ("_ / 3", "3 * _"), "compare.steps": ("_ // 2", "2 * _"), "compare.depth": ("_ // 2", "2 * _")}),
    "act-baseline": Conditions(
        holds={"rate": ("_ / 3",), "compare.steps": ("_ // 2", "2 * _")},
        beyond={"rate": ("3 * _",), "compare.depth": ("_ // 2", "2 * _")}),
    "act-bounded": Conditions(share=0.8, beyond={"larger_rate": ("_ / 2", "2 * _")}),
}  # fmt: skip

SAID: dict[str, str] = {
    "This chapter finds": "plan",
    "You need Taylor": "plan",
    "It is not": "definition",
    "A mean of": "proof: eq-act-mean",
    "The weight gradients": "report",
    "Guess the share": "task",
    "At standard deviation": "report",
    "The scaled sigmoid": "report",
    "It halves the mean square,": "proof: eq-act-relu-half",
    "A tanh needs": "proof: eq-act-cubic",
    "It follows the": "proof: eq-act-scaled",
    "Stretched alone: {num}`1.7e-4": "report",
    "*tanh, $4\\sigma -": "proof: eq-act-limit",
    "*GELU* has the": "proof: eq-act-limit",
    "Its gain is": "exact: gelu_low < 0.9",
    "So a table": "report",
    "Check value and": "proof: eq-act-scaled",
    "It halves the mean square at": "proof: eq-act-relu-half",
    "With biases of": "proof: eq-act-scaled",
    "$q$ becomes $q": "arithmetic",
    "Tanh has poles": "arithmetic",
    "$F$ rises from": "exact: gelu_low < 0.9",
}
