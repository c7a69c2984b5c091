"""Cleaning: rows go in with their place and come out in their own format, or are named with a reason."""
