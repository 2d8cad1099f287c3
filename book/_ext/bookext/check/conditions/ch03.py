"""Chapter 3."""

from bookext.check.stress import Conditions

HALF_AND_DOUBLE = ("_ // 2", "2 * _")
FINER = "10.0 ** (torch.arange(-8, 9) / 2)"  # twice as many rates over the same range
SHIFTED = "3 * _"

CLAIMS: dict[str, Conditions] = {
    "sig-mean-field": Conditions(
        holds={"sigmoid_stack.seeds": ("5", "40"), "sigmoid_stack.width": ("2 * _",)},
        beyond={"sigmoid_stack.width": ("16",)},
    ),
    "sig-weights-decide": Conditions(
        holds={"sigmoid_stack.seeds": ("40",), "sigmoid_stack.width": HALF_AND_DOUBLE},
        beyond={"sigmoid_stack.width": ("16",)},
    ),
    "sig-layers-alike": Conditions(
        holds={"signals.width": ("2 * _",), "signals.depth": ("2 * _",)}, beyond={"signals.width": ("16",)}
    ),
    "sig-large-saturates": Conditions(holds={"signals.width": HALF_AND_DOUBLE, "signals.depth": HALF_AND_DOUBLE}),
    "sig-fp16-zero": Conditions(
        holds={"weight_gradients.depth": ("10", "12")}, beyond={"weight_gradients.depth": ("6", "9", "2 * _")}
    ),
    "sig-loss-scaling": Conditions(
        holds={"weight_gradients.depth": ("6", "9"), "loss_scale": ("_ / 2", "2 * _")},
        beyond={"weight_gradients.depth": ("2 * _",), "loss_scale": ("_ / 64", "2.0**30")},
    ),
    "sig-sgd-stands": Conditions(
        holds={"rates": (SHIFTED, FINER), "deep_steps": HALF_AND_DOUBLE, "deep": ("2 * _",)},
        beyond={"deep": ("4", "5", "6")},
    ),
    "sig-two-ways-to-stand": Conditions(holds={"rates": (SHIFTED,), "deep": ("4", "16")}),
    "sig-saturated-zeros": Conditions(holds={"rates": (SHIFTED,), "deep": ("4", "16")}),
    "sig-not-zero": Conditions(),
    "sig-adam-trains": Conditions(holds={"adam_steps": ("2 * _",)}),
    "sig-adam-moves-all": Conditions(holds={"adam_steps": ("2 * _",)}),
    "sig-adam-not-deeper": Conditions(holds={"adam_rate": ("0.003", "0.03", "0.1")}, beyond={"adam_steps": ("2 * _",)}),
    "sig-plateau": Conditions(beyond={"plateau_rate": ("1.0", "5.0"), "plateau_depth": ("4", "6", "8")}),
    "sig-top-moves": Conditions(beyond={"deep": ("4", "16")}),
    "sig-shallow-learns": Conditions(
        holds={"rates": (SHIFTED, FINER), "shallow_steps": ("2 * _",)}, beyond={"shallow_steps": ("_ // 2",)}
    ),
    "sig-images-merge": Conditions(),
    "sig-conditioning": Conditions(beyond={"deep": ("4", "16")}),
    "sig-standardised-learns": Conditions(
        holds={"train_linear.steps": ("2 * _",)}, beyond={"train_linear.steps": ("_ // 2",), "deep": ("16",)}
    ),
    "sig-centring-suffices": Conditions(
        holds={"train_linear.steps": ("2 * _",)},
        beyond={"huge_rates": ("_ / 1e3",), "deep": ("4", "16")},
    ),
    "sig-scale-cures": Conditions(
        holds={"two_rates": ("(0.7, 2.0)", "(0.1, 0.3, 1.0, 3.0, 10.0)"), "scale_steps": HALF_AND_DOUBLE},
        beyond={"shallower": ("16",), "scales": ("(1.0, 2.0, 3.0, 15.0, 20.0)",)},
    ),
    "sig-scale-not-deep": Conditions(
        holds={"two_rates": ("(0.1, 0.3)",)},
        beyond={"deeper_still": ("16", "30"), "scale_steps": ("2 * _",)},
    ),
    "sig-updates": Conditions(beyond={"watched": ("[(1.0, 0.3), (6.4, 0.3)]", "[(1.0, 1.0), (20.0, 1.0)]")}),
    "sig-weights-level": Conditions(
        holds={"stack_gradients.width": HALF_AND_DOUBLE, "stack_gradients.depth": ("2 * _",)},
        beyond={"stack_gradients.depth": ("10",)},
    ),
    "sig-both-vanish": Conditions(
        holds={"stack_gradients.depth": ("2 * _",), "stack_gradients.width": HALF_AND_DOUBLE},
        beyond={"stack_gradients.depth": ("10",)},
    ),
}

SAID: dict[str, str] = {
    "The sigmoid squeezes every number": "definition",
    "No slope of a sigmoid exceeds": "proof: eq-sig-quarter",
    "If the factor were $\\sigma'$ and not": "proof: eq-sig-quarter",
    "In float16 the smallest *normal* number": "definition",
    "It never does.": "exact: min(running) > 0",
    "The lecture gives as a reason": "quotation: lecture",
    "Vanishing is worst at the bottom": "quotation: lecture",
    "This chapter finds": "plan",
    "Each layer multiplies": "quotation: lecture",
    "Given the layer below,": "definition",
    "The lecture illustrates": "quotation: lecture",
    "So much for": "plan",
    "So at this": "report",
    "So leave the": "task",
    "What matters happens": "task",
    "$q =$ {num}`188": "arithmetic",
    "But $\\chi_1$ is": "exact: chi_20 > 1",
}
