"""Chapter 2."""

from bookext.check.stress import Conditions

LOST = {"d": ("12",), "eta": ("2 * _",)}
SWEEP = {"sweep.draws": ("7",), "short": ("2 * _",), "long": ("2 * _",)}
RATE = {"nets": ("9",), "stability_limit.iterations": ("2 * _",)}

CLAIMS: dict[str, Conditions] = {
    "relu-signs-cancel": Conditions(holds={"depth": ("_ // 2", "2 * _")}),
    "relu-typical-below-mean": Conditions(holds={"c": ("1", "2"), "n": ("_ // 2",)}),
    "relu-predicted-layer": Conditions(holds={"n": ("_ // 2",), "c": ("2", "3")}),
    "relu-format": Conditions(holds={"n": ("_ // 2",), "c": ("2", "3")}),
    "relu-corrections": Conditions(beyond={"n": ("_ // 2", "2 * _"), "c": ("2", "3")}),
    "relu-power": Conditions(holds=LOST),
    "relu-too-late": Conditions(holds=LOST, share=0.9),
    "relu-upper-end": Conditions(holds=SWEEP, beyond={"draw.width": ("16",)}),
    "relu-lower-end": Conditions(holds=SWEEP, beyond={"draw.width": ("16",)}, share=0.9),
    "relu-scale": Conditions(holds=SWEEP, beyond={"draw.width": ("16",)}, share=0.9),
    "relu-one-step": Conditions(beyond={"draw.width": ("16",)}, share=0.8),
    "relu-no-rate": Conditions(holds={"scan": ("10 ** torch.linspace(-7.25, -3.25, 9)",)}, beyond={"steps": ("2 * _",)}),
    "relu-limit-path": Conditions(holds=RATE, beyond={"depth": ("3",), "draw.width": ("16",)}),
    "relu-switch": Conditions(holds=RATE, beyond={"depth": ("3",), "draw.width": ("16",)}),
    "relu-above-limit": Conditions(holds=RATE, beyond={"depth": ("3",), "draw.width": ("16",)}),
    "relu-flatter": Conditions(holds=RATE, beyond={"depth": ("3",), "draw.width": ("16",)}),
    "relu-none-trains": Conditions(beyond={"many_depth": ("4", "12")}),
    "relu-mostly-silent": Conditions(beyond={"many_depth": ("4", "12"), "eta": ("2 * _",)}, share=0.9),
    "relu-nan-by-format": Conditions(beyond={"many_depth": ("4", "12")}),
    "relu-error-vanishes": Conditions(holds={"larger": ("1.25", "3")}, beyond={"draw.width": ("16",)}),
    "relu-tanh-damps": Conditions(holds={"times": ("4", "8", "128"), "draw.width": ("16", "64")}),
}  # fmt: skip

SAID: dict[str, str] = {
    "The lecture's notes say": "quotation: lecture-notes",
    "This chapter explains": "plan",
    "How many entries": "exact: growth['(a)'] > 1.05",
    "So the band": "proof: eq-relu-fp16-range",
    'Layer {num}`6 <inf_layer["fp16"]>`': "arithmetic",
    "For a linear": "proof: eq-relu-typical",
    "Overflow begins with": "report",
    "No slope enlarges": "definition",
    "And the diagnosis": "exact: thousandth",
    "And a weight": "exact: back == 0",
    "A sum of": "arithmetic",
}
