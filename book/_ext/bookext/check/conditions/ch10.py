"""Chapter 10."""

from bookext.check.stress import Conditions

CLAIMS: dict[str, Conditions] = {
    "tf-pre-forward": Conditions(),
    "tf-pre-backward": Conditions(),
    "tf-post-level": Conditions(),
    "tf-narrow": Conditions(),
    "tf-finite": Conditions(),
    "tf-top": Conditions(),
    "tf-warmup": Conditions(share=0.5),
    "tf-no-warmup": Conditions(),
    "tf-reads": Conditions(),
    "tf-collapse": Conditions(),
    "tf-coordinates": Conditions(),
    "tf-mup-coordinates": Conditions(),
    "tf-rate-moves": Conditions(share=0.6, beyond={"sweep": ("((64, 256, 1024), range(10))",)}),
    "tf-rate-stays": Conditions(holds={"sweep": ("((64, 256, 1024), range(10))",)}),
    "tf-epsilon": Conditions(),
    "tf-bf16-weights": Conditions(),
    "tf-bf16-rest": Conditions(),
    "tf-blocks": Conditions(),
}

SAID: dict[str, str] = {
    "You need skip": "plan",
    "So the mixed": "proof: eq-tf-finite",
    "With pre-norm each": "definition",
    "With post-norm $M_d": "proof: eq-tf-post",
    "With the last": "exact: moves ==",
    "That is no": "exact: moves ==",
    "A softmax does": "arithmetic",
    "For a single": "proof: eq-tf-aligned",
    "The second is": "arithmetic",
    "The loss does": "arithmetic",
    "Layer normalisation subtracts": "arithmetic",
}
