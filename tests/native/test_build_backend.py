"""A package whose kernel cannot be compiled is built without it, keeps the reason, and says what to do."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from splatlearn.core.native import ADVICE, why_missing

ROOT = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "CMakeLists.txt", "LICENSE", "README.md", "native")
GXX = shutil.which("g++")

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None or GXX is None, reason="needs CMake and GCC")
scikit = pytest.importorskip("scikit_build_core")
pytest.importorskip("nanobind")

REFUSES_OPENMP = f"""#!/bin/sh
case "$*" in *-fopenmp*) echo "error: unsupported option '-fopenmp'" >&2; exit 1;; esac
exec {GXX} "$@"
"""
REFUSES_THE_KERNEL = f"""#!/bin/sh
case "$*" in
*native/*) echo "warning: never mind" >&2; echo "kernel.cpp:3:9: error: no vector_size here" >&2; exit 1;;
esac
exec {GXX} "$@"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a build needs of the repository, with a package of two empty modules."""
    folder = tmp_path / "project"
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    for name in ("__init__.py", "core/__init__.py"):
        (folder / "src/splatlearn" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "src/splatlearn" / name).touch()
    return folder


def compiler(folder: Path, script: str) -> str:
    path = folder / "compiler"
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def build(project: Path, hook: str = "build_wheel", **environment: str) -> subprocess.CompletedProcess[str]:
    """Call a hook of the backend in a process of its own, as pip does."""
    (project / "dist").mkdir(exist_ok=True)
    code = f"import sys; sys.path.insert(0, 'native'); import build_backend; print(build_backend.{hook}('dist'))"
    kept = {key: value for key, value in os.environ.items() if key not in {"CXX", "SPLATLEARN_NATIVE"}}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=project, env={**kept, **environment}, capture_output=True, text=True
    )


def report_in_wheel(project: Path) -> dict[str, str]:
    (wheel,) = (project / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".dylib", ".pyd"))]
        return json.loads(archive.read("splatlearn/core/native_build.json"))


@pytest.mark.parametrize(
    ("script", "stage", "error"),
    [
        ("#!/bin/sh\nexit 1\n", "compiler", "is not able to compile a simple test program."),
        (REFUSES_OPENMP, "openmp", "Could NOT find OpenMP_CXX"),
        (REFUSES_THE_KERNEL, "compile", "kernel.cpp:3:9: error: no vector_size here"),
    ],
)
def test_a_broken_compiler(project: Path, script: str, stage: str, error: str) -> None:
    done = build(project, CXX=compiler(project, script))
    assert done.returncode == 0, done.stderr
    report = report_in_wheel(project)
    assert report["stage"] == stage and error in report["error"]
    assert report["compiler"].startswith("" if stage == "compiler" else "GNU ")
    assert "native/ was not compiled" in done.stderr
    # The next build may have another compiler, and the tree is as it was.
    assert not list(project.rglob("CMakeCache.txt"))
    assert not (project / "src/splatlearn/core/native_build.json").exists()


def test_an_editable_installation_keeps_the_reason_in_the_tree(project: Path) -> None:
    done = build(project, "build_editable", CXX="/bin/false")
    assert done.returncode == 0, done.stderr
    kept = project / "src/splatlearn/core/native_build.json"
    said = why_missing(ImportError("no such module"), kept)
    assert ADVICE["compiler"] in said and "/bin/false" in said and "no such module" not in said
    assert build(project, "build_sdist").returncode == 0 and not kept.exists()


def test_a_build_that_must_have_the_kernel_fails(project: Path) -> None:
    done = build(project, CXX="/bin/false", SPLATLEARN_NATIVE="required")
    assert done.returncode != 0 and not list((project / "dist").iterdir())


def test_a_compiler_that_is_too_old(project: Path) -> None:
    cmake = project / "CMakeLists.txt"
    cmake.write_text(cmake.read_text().replace("set(OLDEST_GNU 9)", "set(OLDEST_GNU 999)"))
    assert build(project, CXX=str(GXX)).returncode == 0
    report = report_in_wheel(project)
    assert report["stage"] == "version" and "the kernel needs GCC 999" in report["error"]


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ("fine\nall of it\n", ""),
        ("a.cpp:1:2: warning: error-prone\na.cpp:3:4: fatal error: no omp.h\n", "a.cpp:3:4: fatal error: no omp.h"),
        (
            "CMake Error at CMakeLists.txt:3 (find_package):\n  Could NOT find OpenMP\n\nStack\n",
            "Could NOT find OpenMP",
        ),
        ("CMake Error: no generator\n", "CMake Error: no generator"),
    ],
)
def test_the_first_error_of_an_output(output: str, error: str) -> None:
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "native" / "build_backend.py")
    assert spec is not None and spec.loader is not None
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    assert backend.first_error(output) == error
