"""Read-outs of models of splat sets: features and probes, partial views, drawing again, and completion."""
