"""Why the compiled extensions are missing, and what to do."""

import json
import re
from pathlib import Path

import pytest

from splatlearn.core.native import ADVICE, why_missing

CMAKE = Path(__file__).parents[2] / "CMakeLists.txt"
ERROR = ImportError("cannot import name '_native'")


def test_each_stage_of_the_build_has_its_advice() -> None:
    stages = re.findall(r"^reached\((\w+)\)", CMAKE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"cmake", *stages} == set(ADVICE)


@pytest.mark.parametrize("stage", ADVICE)
def test_the_advice_fits_the_stage(tmp_path: Path, stage: str) -> None:
    report = tmp_path / "native_build.json"
    report.write_text(json.dumps({"stage": stage, "compiler": "GNU 8.3.0", "error": "omp.h: no such file"}))
    said = why_missing(ERROR, report)
    assert said.startswith(ADVICE[stage]) and said.endswith("The build said (GNU 8.3.0): omp.h: no such file")


def test_without_a_report_the_import_s_error_is_the_reason(tmp_path: Path) -> None:
    assert why_missing(ERROR, tmp_path / "none.json").startswith("cannot import name '_native'; install a C++ compiler")


@pytest.mark.parametrize("content", ["{", "[]", '{"stage": ["compile"]}'])
def test_a_damaged_report_is_no_second_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / "native_build.json").write_text(content)
    assert "install splatlearn anew" in why_missing(ERROR, tmp_path / "native_build.json")
