"""The whole chain in one command: its steps, what of them is done already, the rest run, and what came out."""
