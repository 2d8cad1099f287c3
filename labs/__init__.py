"""What the book *Numerical Stability of Deep Networks* computes with; one module, one idea, and ``labs.monitor`` for your own model.

Importing ``labs`` itself loads nothing: ``from labs import jacobians`` loads what that module needs.
"""
