"""The one training loop and what it needs: optimizers, schedules, checkpoints, counters, and the text
stages."""
