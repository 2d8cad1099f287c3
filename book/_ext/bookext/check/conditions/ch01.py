"""Chapter 1."""

from bookext.check.stress import Conditions

GROWTH = {"jacobian_growth.n": ("_ // 2", "2 * _"), "jacobian_growth.depth": ("_ // 2", "2 * _")}

CLAIMS: dict[str, Conditions] = {
    "jac-tanh-shrinks": Conditions(holds=GROWTH),
    "jac-fades": Conditions(holds=GROWTH),
    "jac-straight": Conditions(holds=GROWTH, beyond={"scales": ("(0.25, 0.5, 1.0, 1.5, 3, 6)",)}),
    "jac-steep-few": Conditions(holds=GROWTH),
    "jac-floor": Conditions(holds={"width": ("_ // 2",), "layers": ("2 * _",)}, beyond={"width": ("2 * _",), "layers": ("_ // 2",)}),
    "jac-median-below-mean": Conditions(holds={"depth": ("201",), "n": ("2", "3", "6")}, beyond={"depth": ("51",), "n": ("8", "16")}),
    "jac-depth-over-width": Conditions(holds={"ratio": ("1", "6"), "log_norms.draws": ("2 * _",)}),
    "jac-lost-in-fp32": Conditions(holds={"chain_of_jacobians.n": ("_ // 2", "2 * _")}),
    "jac-svd-misses": Conditions(holds={"depth": ("2 * _",), "n": ("2 * _",)}, beyond={"depth": ("_ // 2",), "n": ("_ // 2",)}),
}  # fmt: skip

SAID: dict[str, str] = {
    "Those are the": "proof: eq-product",
    "It needs one": "code",
    "Eigenvalues decide for": "quotation: pascanu2013",
    "At a finite": "plan",
    "After $d$ layers": "proof: eq-jac-typical",
    "The loss is": "definition",
    "With the approximation,": "proof: eq-jac-typical",
}
