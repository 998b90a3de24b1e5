"""The engine of every training loop, its processes, checkpoints, guard and log."""
