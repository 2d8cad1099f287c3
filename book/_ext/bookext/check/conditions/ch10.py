"""Chapter 10."""

from bookext.check.stress import Conditions

MANY = "(64, 256, 1024), range(10), range(-8, -1)"

CLAIMS: dict[str, Conditions] = {
    "tf-pre-forward": Conditions(holds={"width": ("_ // 2", "2 * _"), "stream.depth": ("_ // 2", "2 * _")}),
    "tf-pre-backward": Conditions(
        holds={"stream.depth": ("_ // 2",)}, beyond={"width": ("_ // 2", "2 * _"), "stream.depth": ("2 * _",)}),
    "tf-post-level": Conditions(holds={"width": ("_ // 2", "2 * _"), "stream.depth": ("_ // 2",)}, beyond={"stream.depth": ("2 * _",)}),
    "tf-narrow": Conditions(holds={"narrow": ("_ // 2", "2 * _"), "stream.depth": ("_ // 2", "2 * _")}),
    "tf-post-narrow": Conditions(holds={"narrow": ("_ // 2",)}, beyond={"narrow": ("2 * _",), "stream.depth": ("_ // 2", "2 * _")}),
    "tf-finite": Conditions(holds={"few": ("2 * _",), "narrow": ("_ // 2", "2 * _"), "stream.depth": ("_ // 2", "2 * _")}),
    "tf-top": Conditions(beyond={"deep": ("_ // 2", "2 * _")}),
    "tf-warmup": Conditions(
        share=0.5,
        beyond={"adam_run.rate": ("_ / 3", "3 * _"), "adam_run.depth": ("_ // 2",), "adam_run.steps": ("2 * _",)}),
    "tf-no-warmup": Conditions(
        beyond={"adam_run.rate": ("_ / 3", "3 * _"), "adam_run.depth": ("_ // 2",), "adam_run.steps": ("2 * _",)}),
    "tf-reads": Conditions(),
    "tf-collapse": Conditions(beyond={"hot": ("_ / 3", "3 * _"), "hot_steps": ("_ // 2", "2 * _")}),
    "tf-coordinates": Conditions(beyond={"fit.hidden": ("1", "4")}),
    "tf-mup-coordinates": Conditions(beyond={"fit.hidden": ("1", "4")}),
    "tf-rate-moves": Conditions(share=0.6, holds={"sweep": (f"({MANY}, 2)",)}, beyond={"sweep": (f"({MANY}, 1)",)}),
    "tf-rate-stays": Conditions(holds={"sweep": (f"({MANY}, 2)",)}, beyond={"sweep": (f"({MANY}, 1)",)}),
    "tf-epsilon": Conditions(beyond={"small_loss.rate": ("_ / 3", "3 * _"), "small_loss.steps": ("_ // 2", "2 * _")}),
    "tf-bf16-weights": Conditions(beyond={"six_layers.rate": ("_ / 3", "3 * _"), "six_layers.steps": ("_ // 2", "2 * _")}),
    "tf-bf16-rest": Conditions(beyond={"six_layers.rate": ("_ / 3", "3 * _"), "six_layers.steps": ("_ // 2", "2 * _")}),
    "tf-blocks": Conditions(),
}  # fmt: skip

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
