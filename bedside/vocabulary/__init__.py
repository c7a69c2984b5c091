"""Words of a field as tokens of their own: which ones, how a tokenizer learns them, what a model's rows become."""
