"""What PPO and GRPO share about sampled completions: samples to read, alarms, curves, an exam before and after."""
