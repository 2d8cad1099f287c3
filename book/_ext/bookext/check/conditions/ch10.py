"""Chapter 10."""

from bookext.check.stress import Conditions

DRAWS = 4  # a draw of this chapter takes half a minute

CLAIMS: dict[str, Conditions] = {
    "tf-pre-forward": Conditions(draws=DRAWS),
    "tf-pre-backward": Conditions(draws=DRAWS),
    "tf-post-level": Conditions(draws=DRAWS),
    "tf-narrow": Conditions(draws=DRAWS),
    "tf-top": Conditions(draws=DRAWS),
    "tf-warmup": Conditions(draws=DRAWS, share=0.5),
    "tf-no-warmup": Conditions(draws=DRAWS),
    "tf-reads": Conditions(draws=DRAWS),
    "tf-collapse": Conditions(draws=DRAWS),
    "tf-coordinates": Conditions(draws=DRAWS),
    "tf-mup-coordinates": Conditions(draws=DRAWS),
    "tf-rate-moves": Conditions(draws=DRAWS, share=0.7),
    "tf-rate-stays": Conditions(draws=DRAWS),
    "tf-epsilon": Conditions(draws=DRAWS),
    "tf-bf16-weights": Conditions(draws=DRAWS),
    "tf-bf16-rest": Conditions(draws=DRAWS),
    "tf-blocks": Conditions(draws=DRAWS),
}

SAID: dict[str, str] = {
    "You need skip": "plan",
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
