"""Export of a model in 8 or 4 bits, and the report on what that changed.

`source` says what may be quantised and how, `work` does what needs the model (as jobs, which run in this process or in
the calibrating library's own environment), `compare` holds the numbers, `report` the table, `output` the directory.
"""
