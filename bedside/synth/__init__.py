"""Synthetic medical text: documents, dialogues, preferences and questions rendered from a table of facts."""
