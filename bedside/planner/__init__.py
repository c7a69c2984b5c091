"""Does it fit, and how long does it take: memory and speed of a training from a config and a data sheet.

Numbers only: no weights, no GPU, no torch. `shapes` reads a model's widths, `cards` holds data sheets, `memory` and
`speed` count a step, `choose` looks for the best settings that fit, `told` says it, `recipe` writes it down.
"""
