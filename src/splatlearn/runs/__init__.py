"""What every long job needs: folder, lock, log, checkpoints of named tensors, schemas, signals and schedules."""
