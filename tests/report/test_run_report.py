"""Run reports: read from folders as runs leave them, finished or not."""

import json

import matplotlib.figure
import pytest

from splatlearn.report import Code, Figure, KeyValues, read_log, run_sections, write_page


def write_log(folder, entries, torn=""):
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "log.jsonl").write_text(text + torn)
    return folder / "log.jsonl"


def summary(section):
    return next(block.values for block in section.blocks if isinstance(block, KeyValues))


def test_log_is_read_back(tmp_path):
    entries = [{"event": "start"}, {"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    assert read_log(write_log(tmp_path, entries)) == entries
    assert read_log(write_log(tmp_path, [])) == []


@pytest.mark.parametrize(
    "torn", ['{"step": 3, "lo', "{", '{"name": "\udce4'.encode("utf-8", "surrogateescape").decode("latin-1")]
)
def test_torn_last_line_is_passed_over(tmp_path, torn):
    assert read_log(write_log(tmp_path, [{"step": 1, "loss": 0.5}], torn)) == [{"step": 1, "loss": 0.5}]


def test_whole_last_line_without_its_end_counts(tmp_path):
    assert len(read_log(write_log(tmp_path, [{"step": 1}], '{"step": 2}'))) == 2


def test_character_cut_in_half_is_a_torn_line(tmp_path):
    path = write_log(tmp_path, [{"step": 1}])
    path.write_bytes(path.read_bytes() + '{"name": "ü'.encode()[:-1])
    assert read_log(path) == [{"step": 1}]


@pytest.mark.parametrize("line", ["{torn", "[1, 2]"])
def test_other_bad_lines_are_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(ValueError, match="log.jsonl, line 2: expected a JSON object, got"):
        read_log(path)


def test_sections_tell_of_the_run(tmp_path):
    entries = [
        {"step": step, "loss": 1.0 / step, "learning_rate": 1e-4, "images_per_second": 100.0 + step, "data_wait": 0.25}
        for step in range(1, 41)
    ]
    write_log(tmp_path, [*entries, {"step": 40, "validation_loss": 0.1}], torn='{"st')
    recipe = {"method": "gmae", "optimizer": {"epochs": 4, "betas": [0.9, 0.95]}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    sections = run_sections(tmp_path, "splatlearn pretrain gmae", {"torch": "2.9"})
    assert [section.title for section in sections] == ["Training", "Recipe", "Repeat it"]
    told = summary(sections[0])
    assert told["Steps"] == 40
    assert told["Last loss"] == told["Best loss"] == pytest.approx(1 / 40)
    assert told["Images per second (median)"] == pytest.approx(120.5)
    assert told["Time spent waiting for data"] == "25.0 %"
    assert len(sections[0].blocks) == 3
    assert summary(sections[1]) == {"method": "gmae", "optimizer.epochs": 4, "optimizer.betas": [0.9, 0.95]}
    assert sections[2].blocks[0] == Code("splatlearn pretrain gmae")
    page = write_page(tmp_path / "report.html", "Run", "", sections).read_text(encoding="utf-8")
    assert "optimizer.epochs" in page
    assert page.count("<svg") == 2


def test_speed_is_found_in_lines_of_their_own(tmp_path):
    steps = [{"step": step, "loss": 1.0, "learning_rate": 1e-4} for step in range(1, 31)]
    status = [
        {"step_of_status": step, "images_per_second": 10.0 * step, "data_wait": 0.5, "skipped_steps": 0}
        for step in (10, 20, 30, 20)
    ]
    write_log(tmp_path, steps + status)
    (section,) = run_sections(tmp_path)
    told = summary(section)
    assert told["Steps"] == 30
    assert told["Images per second (median)"] == 200.0
    assert told["Time spent waiting for data"] == "50.0 %"
    figure = section.blocks[-1]
    assert isinstance(figure, Figure)
    assert isinstance(figure.image, matplotlib.figure.Figure)
    assert len(figure.image.axes) == 3


def test_steps_done_again_count_once(tmp_path):
    losses = [(1, 9.0), (2, 8.0), (3, 1.0), (2, 7.0)]
    write_log(tmp_path, [{"step": step, "loss": loss} for step, loss in losses])
    told = summary(run_sections(tmp_path)[0])
    assert told["Steps"] == 3
    assert told["Last loss"] == 1.0


def test_non_finite_losses_are_left_out(tmp_path):
    write_log(tmp_path, [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}])
    told = summary(run_sections(tmp_path)[0])
    assert told["Steps"] == 2
    assert told["Last loss"] == 0.5


@pytest.mark.parametrize("entries", [None, [], [{"event": "start"}], [{"step": 1, "loss": None}]])
def test_run_without_a_finished_step_says_so(tmp_path, entries):
    if entries is not None:
        write_log(tmp_path, entries)
    (section,) = run_sections(tmp_path)
    assert section.intro == "No step has been logged yet."
    assert list(section.blocks) == []


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run_dir: expected the folder of a run, got .*nowhere"):
        run_sections(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("last", "told"), [(10, "10 of 40 (25%)"), (40, "40, all of them"), (1, 1)], ids=["running", "done", "first"]
)
def test_a_running_run_says_how_far_it_is(tmp_path, last, told):
    # Ten steps an epoch; a line tells how many epochs lay behind its step.
    write_log(tmp_path, [{"step": step, "loss": 1.0, "epoch": (step - 1) / 10} for step in range(1, last + 1)])
    (tmp_path / "recipe.json").write_text(json.dumps({"optimizer": {"epochs": 4}}))
    assert summary(run_sections(tmp_path)[0])["Steps"] == told


def drawn(block: object) -> matplotlib.figure.Figure:
    """The plot of a part of a page."""
    assert isinstance(block, Figure) and isinstance(block.image, matplotlib.figure.Figure)
    return block.image


def test_terms_of_the_loss_are_drawn(tmp_path):
    lines = [
        {"step": step, "loss": 3.0, "loss_pixels": 1.0, "loss_<b>": 2.0, "grad_norm": 0.5, "fit": 1}
        for step in (1, 2, 3)
    ]
    write_log(tmp_path, lines)
    (section,) = run_sections(tmp_path)
    terms, measures = (drawn(block) for block in section.blocks[-2:])
    titles = [axes.get_title(loc="left") for axes in terms.axes]
    assert [axes.get_title(loc="left") for axes in measures.axes] == ["fit"]
    assert titles == ["term of the loss: pixels", "term of the loss: <b>", "norm of the gradient, before clipping"]
    page = write_page(tmp_path / "report.html", "Run", "", [section]).read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page and "<b>" not in page
