"""Chapter 4."""

from bookext.check.stress import Conditions

CLAIMS: dict[str, Conditions] = {
    "stab-skip-wide": Conditions(beyond={"backward_factors.d": ("3", "12")}),
    "stab-skip-keeps": Conditions(holds={"d": ("25", "100"), "n": ("32", "128")}, beyond={"range_": ('"he_normal"',)}),
    "stab-scaled-skip-level": Conditions(
        holds={"d": ("25", "100"), "n": ("32", "128")}, beyond={"range_": ('"he_normal"',)}
    ),
    "stab-relu-outside": Conditions(holds={"width": ("128",), "blocks": ("4",)}),
    "stab-inf-early": Conditions(holds={"first_inf.n": ("32", "128"), "first_inf.batch": ("2", "32")}),
    "stab-forget-bias": Conditions(
        holds={"length": ("20", "80"), "nets": ("16",)}, beyond={"recurrent.units": ("8", "128")}
    ),
    "stab-lstm-rest": Conditions(
        holds={"length": ("20", "80"), "nets": ("16",)}, beyond={"recurrent.units": ("8", "128")}
    ),
    "stab-clip-trains": Conditions(
        holds={"train.steps": ("120",)}, beyond={"ten": ("5", "20"), "train.steps": ("30",)}
    ),
    "stab-clip-too-deep": Conditions(
        holds={"train.steps": ("30",)}, beyond={"twenty": ("14",), "train.steps": ("240",)}
    ),
    "stab-start-level": Conditions(holds={"bottom_to_top.depth": ("8", "32")}),
    "stab-table-same": Conditions(holds={"rates": ("3 * _",), "compare.steps": ("60",)}, beyond={"deep": ("8",)}),
    "stab-table-band": Conditions(holds={"rates": ("3 * _",), "compare.steps": ("60",)}, beyond={"deep": ("8",)}),
    "stab-table-stuck": Conditions(holds={"compare.steps": ("60",)}, beyond={"deep": ("8", "32"), "rates": ("3 * _",)}),
    "stab-table-skips": Conditions(holds={"rates": ("3 * _",), "compare.steps": ("60",)}, beyond={"deep": ("8", "32")}),
    "stab-norm-band": Conditions(holds={"deep": ("8", "32")}),
    "stab-batch-norm": Conditions(beyond={"rates": ("3 * _",), "deep": ("8", "32")}),
    "stab-adam-outside": Conditions(
        holds={"modern.steps": ("60",)}, beyond={"rates": ("3 * _",), "deep": ("8", "32")}, share=0.9
    ),
}

SAID: dict[str, str] = {
    "So in float16": "arithmetic",
    "But $\\delta^t$ does": "proof: eq-stab-skip-delta",
    "In the blocks": "proof: eq-stab-two-three",
    "In the next,": "proof: eq-stab-two-three",
    '"A residual network': "proof: eq-stab-two-three",
    "The bound needs": "proof: eq-stab-scaled",
    "The step does": "proof: def-stab-standardise def-stab-unit",
    "The standardised gradient": "arithmetic",
    "Value clipping makes": "exact: clip_value(g, 1.0)",
    "What does help:": "code",
    "The gradients are": "report",
    "The layers' gradients": "plan",
    "Overflow needs a": "arithmetic",
    "The branch of": "proof: eq-stab-post",
    "Given $h$, that": "proof: eq-stab-post",
}
