"""Loss terms beside the comparison of pictures: depth, smoothness, distortion, opacities."""
