"""Fine-tuning of classifiers: recipe, augmentation, loop and validation."""
