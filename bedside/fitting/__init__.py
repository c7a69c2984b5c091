"""When memory runs out: what ran out, what to try next, and a stage that tries it by itself."""
