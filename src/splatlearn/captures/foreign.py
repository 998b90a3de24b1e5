"""Captures in layouts that are not read, and the way to one that is read."""

from __future__ import annotations

from pathlib import Path

HINTS = (
    ("keyframes/corrected_cameras", "Polycam's raw data", "`ns-process-data polycam` writes transforms.json"),
    ("keyframes/cameras", "Polycam's raw data", "`ns-process-data polycam` writes transforms.json"),
    ("poses_bounds.npy", "LLFF's poses", "run COLMAP on the photographs, or `imgs2poses.py` without its last step"),
    ("*.nvm", "a VisualSFM model", "export it from there in COLMAP's format"),
    ("bundle.out", "a Bundler model", "export it in COLMAP's format where it was made"),
    ("reconstruction.json", "an OpenSfM model", "`opensfm export_colmap` writes COLMAP's format"),
    ("opensfm/reconstruction.json", "an OpenDroneMap project", "`opensfm export_colmap` writes COLMAP's format"),
    ("sfm_data.json", "an OpenMVG model", "`openMVG_main_openMVG2Colmap` writes COLMAP's format"),
    ("cameras.sfm", "a Meshroom model", "export it with the node ExportColmap"),
    ("database.db", "a database of COLMAP without a model", "run its mapper, or export the model into sparse/0"),
    ("*.psx", "a Metashape project", "export the cameras from there in COLMAP's format"),
    ("*.rcproj", "a RealityCapture project", "export the registration from there in COLMAP's format"),
    ("*.csv", "a table, perhaps RealityCapture's cameras", "export the registration from there in COLMAP's format"),
    ("*.xml", "an XML file, perhaps Metashape's cameras", "export the cameras from there in COLMAP's format"),
)
"""Pattern of a file in a folder, the layout that it belongs to, and the way to one that is read."""


def hint(folder: Path) -> str:
    """Return what a folder holds in place of a capture, and what to do; empty where nothing is known."""
    for pattern, what, way in HINTS:
        if next(folder.glob(pattern), None) is not None:
            return f"it holds {what}: {way}"
    return ""
