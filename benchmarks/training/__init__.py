"""What bench_sft.py, bench_dpo.py and bench_rm.py share: shapes, rows, random weights, clocks, ways to train, a table.

Nothing heavy is imported with a module: the command that starts the processes needs no GPU memory of its own.
"""
