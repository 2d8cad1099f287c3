"""Chapter 5."""

from bookext.check.stress import Conditions

CLAIMS: dict[str, Conditions] = {
    "cv-units-scatter": Conditions(holds={"nets": ("600",)}, beyond={"depth": ("2", "10")}),
    "cv-histograms": Conditions(beyond={"layer_values.layers": ("3", "12")}),
    "cv-format": Conditions(),
    "cv-uniform-level": Conditions(beyond={"depth": ("3", "12")}),
    "cv-sigmoid-apart": Conditions(holds={"sigmoid_ratios.depth": ("12",)}, beyond={"sigmoid_ratios.depth": ("3",)}),
    "cv-slow-bottom": Conditions(
        holds={"rates": ("1.4 * _",), "best_of.steps": ("160",)}, beyond={"tilted_net.depth": ("12",)}
    ),
    "cv-fast-bottom": Conditions(
        holds={"rates": ("1.4 * _",)}, beyond={"best_of.steps": ("160",), "tilted_net.depth": ("12",)}
    ),
    "cv-steep": Conditions(holds={"rates": ("1.4 * _",)}, share=0.9),
    "cv-tilt-lasts": Conditions(beyond={"watch.steps": ("300",)}),
    "cv-units-off": Conditions(),
    "cv-sigmoid-settles": Conditions(),
    "cv-sigmoid-merges": Conditions(),
    "cv-unreadable": Conditions(holds={"probe.n_train": ("900",)}),
    "cv-tanh-readable": Conditions(holds={"probe.n_train": ("900",)}),
    "cv-odd-merges": Conditions(),
    "cv-chi-backward": Conditions(),
    "cv-rough": Conditions(holds={"sections.lines": ("8",)}),
    "cv-curvature": Conditions(beyond={"descend.steps": ("100", "600")}),
    "cv-flat": Conditions(beyond={"descend.steps": ("100", "600")}),
    "cv-not-flatter": Conditions(beyond={"descend.steps": ("100", "600")}),
    "cv-hundredth-shallow": Conditions(holds={"steps": ("240",)}, share=0.9),
    "cv-hundredth-deep": Conditions(holds={"steps": ("240",), "layers": ("4",)}),
    "cv-hundredth-adam": Conditions(beyond={"steps": ("480",)}),
    "cv-default": Conditions(),
    "cv-bn-holds": Conditions(),
    "cv-bn-relaxes": Conditions(),
}

SAID: dict[str, str] = {
    "So the output": "definition",
    "Over the *units*": "report",
    "For $c_t >": "proof: eq-cv-rescale",
    "Its outputs lie": "arithmetic",
    "A tanh net": "arithmetic",
    "For tanh the": "proof: eq-act-decay",
    "The axis is": "arithmetic",
    "Without biases the": "arithmetic",
    "The ReLU behind": "arithmetic",
    "A normalised pre-activation": "proof: eq-cv-bn",
    "The next layer's": "proof: eq-cv-bn",
    "The excess over": "proof: eq-cv-bn",
    "Since $\\mathrm{BN}(cWh) =": "arithmetic",
    "Larger weights leave": "proof: def-cv-ratio",
    "Without weight decay": "arithmetic",
    "The 'logits' now": "report",
}
