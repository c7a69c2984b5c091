"""Measures of a chat model, each with its uncertainty."""
