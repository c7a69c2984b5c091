"""What TRL's GRPO and RLOO trainers lack: our prompt ids, all stop tokens, seeded answers, exact resume, rewards."""
