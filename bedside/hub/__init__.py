"""Models and datasets from Hugging Face or ModelScope onto this disk: chosen, fetched, verified, written down."""
