"""bedside: train a medical language model in stages, and serve what was trained."""

__version__ = "0.1.0"
