"""Features of images from encoders and controls, extracted once and kept."""
