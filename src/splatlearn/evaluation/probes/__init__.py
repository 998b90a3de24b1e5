"""What features know about labels: kNN, linear, naive Bayes, few labels, segmentation, and diagnostics."""
