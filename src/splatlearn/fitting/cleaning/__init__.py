"""Removal of Gaussians that no surface needs: floaters, and what no camera sees."""
