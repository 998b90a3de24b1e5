"""Our own folder of tensors: splats.json and splats.safetensors, which hold every primitive."""
