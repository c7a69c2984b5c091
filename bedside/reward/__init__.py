"""Reward models: how they start, the scores they give to held-out pairs, and what these scores are worth."""
