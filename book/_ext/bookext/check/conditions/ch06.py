"""Chapter 6."""

from bookext.check.stress import Conditions

SHIFTED = "{name: (rule, [rate / 2 for rate in grid]) for name, (rule, grid) in _.items()}"

CLAIMS: dict[str, Conditions] = {
    "xavier-fades-with-width": Conditions(
        holds={"outputs": ("_ // 2", "2 * _"), "layers_above": ("_ - 2", "2 * _")}),
    "xavier-median-below": Conditions(share=0.7, holds={"relu_sizes.batch": ("2 * _",)}, beyond={"relu_sizes.n": ("_ // 4", "2 * _")}),
    "xavier-he-learns": Conditions(
        holds={"steps": ("2 * _",), "he_rate": ("_ / 2", "2 * _")},
        beyond={"steps": ("_ // 4",), "depth": ("_ // 2", "2 * _"), "he_rate": ("_ / 10", "10 * _")}),
    "xavier-no-rate": Conditions(
        holds={"rates": ("[3 * r for r in _]",), "steps": ("2 * _",), "depth": ("2 * _",)},
        beyond={"depth": ("10", "_ // 2")}),
    "xavier-ten-layers": Conditions(
        holds={"few_steps": ("2 * _",), "few": ("_ // 2",)},
        beyond={"few": ("15", "2 * _"), "few_steps": ("_ // 2",), "larger_rate": ("_ / 10", "_ / 3", "3 * _")}),
    "xavier-adam-moves": Conditions(
        holds={"adam_steps": ("2 * _",), "some": ("_ // 2", "40"), "adam.lr": ("_ / 3", "3 * _")},
        beyond={"adam_steps": ("_ // 2",), "some": ("2 * _",), "adam.lr": ("10 * _",)}),
    "xavier-adam-behind": Conditions(
        holds={"adam_steps": ("2 * _",)},
        beyond={"adam_steps": ("_ // 2", "3 * _"), "some": ("_ // 2", "40"), "adam.lr": ("_ / 3", "3 * _")}),
    "xavier-adam-stalls": Conditions(
        holds={"adam_steps": ("2 * _",), "adam.lr": ("_ / 3", "3 * _"), "many": ("80",)},
        beyond={"many": ("40", "50")}),
    "xavier-adam-epsilon": Conditions(
        holds={"adam_steps": ("2 * _",), "tiny": ("1e-13", "1e-14")},
        beyond={"many": ("80",), "adam.lr": ("_ / 3", "3 * _"), "tiny": ("1e-11", "1e-12")}),
    "xavier-three-layers": Conditions(
        holds={"side_by_side.steps": ("2 * _",)},
        beyond={"settings": (SHIFTED,), "side_by_side.batch": ("_ // 2",)}),
    "xavier-ten-apart": Conditions(
        beyond={"side_by_side.steps": ("2 * _",), "settings": (SHIFTED,), "side_by_side.batch": ("_ // 2",)}),
    "xavier-thirty-apart": Conditions(
        holds={"side_by_side.steps": ("2 * _",)},
        beyond={"settings": (SHIFTED,), "side_by_side.batch": ("_ // 2",)}),
    "xavier-smallest": Conditions(holds={"factors": ("_ // 2", "2 * _"), "product_powers.n": ("_ // 2", "2 * _")}),
    "xavier-squares-correlate": Conditions(holds={"correlations.n": ("_ // 2", "2 * _")}),
    "xavier-dead-directions": Conditions(
        beyond={"relu_layers.depth": ("_ // 2",)}),
    "xavier-dead-half": Conditions(
        holds={"relu_layers.batch": ("_ // 2",)},
        beyond={"relu_layers.depth": ("_ // 2",)}),
    "xavier-six-xi": Conditions(
        holds={"deep": ("50",)}, beyond={"accuracy.steps": ("_ // 2",), "deep": ("30",), "small_rate": ("_ / 3",)}),
    "xavier-six-xi-rate": Conditions(
        beyond={"large_rate": ("3 * _",), "accuracy.steps": ("_ // 2",), "deep": ("30",)}),
    "xavier-gain-grows": Conditions(),
    "xavier-edge-from-below": Conditions(beyond={"squared_values.products": ("_ // 4",)}),
    "xavier-one-stretched": Conditions(),
}  # fmt: skip

SAID: dict[str, str] = {
    "A matrix $Q$ with orthonormal columns": "proof: eq-xavier-orthogonal",
    "In a linear network of equal widths": "proof: eq-xavier-orthogonal",
    "Multiplying every weight of a bias-free network": "proof: eq-xavier-homogeneous",
    "This chapter derives": "plan",
    "Of the weights": "proof: eq-xavier-terms",
    "After a ReLU": "arithmetic",
    "But its outputs": "proof: eq-xavier-weight-mean",
    "These 400 nets": "report",
    "He et al. take": "proof: eq-xavier-he",
    "(PyTorch's attention layer": "code",
    "He's weights are": "proof: eq-xavier-homogeneous",
    "For tanh PyTorch's": "code",
    "In each layer": "proof: eq-xavier-compromise",
    "The units share": "proof: eq-xavier-weight-mean",
    "He et al. state": "quotation: he2015",
}
