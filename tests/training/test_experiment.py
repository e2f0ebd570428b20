import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.config import ExperimentConfig, load_config
from asr.files import Experiment
from asr.training.experiment import open_experiment, package_commit, read_provenance

LoadConfig = Callable[..., ExperimentConfig]


@pytest.fixture
def experiment(load: LoadConfig, tmp_path: Path) -> Experiment:
    return open_experiment(load(), tmp_path / "exp", resume=False, init=None)


def test_folder_holds_config_tokenizer_and_provenance(
    experiment: Experiment, load: LoadConfig, corpus: Path
) -> None:
    assert load_config(experiment.config) == load()
    assert experiment.tokenizer.read_bytes() == (corpus / "tokenizer.model").read_bytes()
    record = read_provenance(experiment)
    assert record["seed"] == 1
    assert len(record["corpus_sha256"]["train"]) == 64
    assert (record["starts"], record["hours"]) == ([], 0)


def test_commit_is_that_of_the_packages_own_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(tmp_path), *arguments],
            check=True,
            capture_output=True,
        )

    for name in ("kept", "installed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    git("init")
    git("add", "kept")
    git("commit", "-m", "m")
    monkeypatch.chdir("/")
    commit = package_commit(tmp_path / "kept")
    assert commit is not None
    assert len(commit) == 40
    assert package_commit(tmp_path / "installed") is None
    (tmp_path / "kept" / "__init__.py").write_text("changed = 1")
    assert package_commit(tmp_path / "kept") == f"{commit}-dirty"


def test_existing_folder_needs_resume(experiment: Experiment, load: LoadConfig) -> None:
    with pytest.raises(ValueError, match=r"expected a new folder.*--resume"):
        open_experiment(load(), experiment.root, resume=False, init=None)


def train_a_step(experiment: Experiment) -> None:
    (experiment.checkpoints / "step-00000001.pt").touch()


def test_resume_names_every_changed_key(experiment: Experiment, load: LoadConfig) -> None:
    train_a_step(experiment)
    changed = load("training.learning_rate=0.5", "model.attention.kind=full")
    with pytest.raises(ValueError, match="other values of") as error:
        open_experiment(changed, experiment.root, resume=True, init=None)
    assert "training.learning_rate (0.01 -> 0.5)" in str(error.value)
    assert "model.attention.kind (transformer_xl -> full)" in str(error.value)
    assert load_config(experiment.config) == load()


def test_resume_may_change_what_changes_no_weight(experiment: Experiment, load: LoadConfig) -> None:
    train_a_step(experiment)
    changed = load("data.workers=3", "training.epochs=9", "training.threads=2")
    open_experiment(changed, experiment.root, resume=True, init=None)
    assert load_config(experiment.config) == changed


def test_more_epochs_would_bend_the_cosine(load: LoadConfig, tmp_path: Path) -> None:
    cosine = 'training.schedule="cosine"'
    train_a_step(open_experiment(load(cosine), tmp_path / "exp", resume=False, init=None))
    with pytest.raises(ValueError, match=r"training\.epochs \(3 -> 9\)"):
        open_experiment(load(cosine, "training.epochs=9"), tmp_path / "exp", resume=True, init=None)


def test_resume_with_another_corpus_is_refused(
    experiment: Experiment, load: LoadConfig, corpus: Path, tmp_path: Path
) -> None:
    train_a_step(experiment)
    lines = (corpus / "train.jsonl").read_text().splitlines(keepends=True)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"other content in data\.train;"):
        open_experiment(load(f"data.train={other}"), experiment.root, resume=True, init=None)
    shutil.copy(corpus / "train.jsonl", other)
    open_experiment(load(f"data.train={other}"), experiment.root, resume=True, init=None)


def test_run_that_failed_before_its_first_checkpoint_may_begin_otherwise(
    load: LoadConfig, corpus: Path, tmp_path: Path
) -> None:
    out, first = tmp_path / "exp", tmp_path / "first"
    experiment = open_experiment(load(), out, resume=False, init=first)
    experiment.normalisation.touch()
    other = shutil.copy(corpus / "validation.jsonl", tmp_path / "train.jsonl")
    changed = load("data.batch_seconds=5", f"data.train={other}")
    open_experiment(changed, out, resume=True, init=None)
    assert load_config(experiment.config) == changed
    record = read_provenance(experiment)
    assert record["init"]["experiment"] == str(first)
    assert record["corpus_sha256"]["train"] == record["corpus_sha256"]["validation"]
    assert not experiment.normalisation.exists()


def test_other_first_weights_come_too_late(load: LoadConfig, tmp_path: Path) -> None:
    experiment = open_experiment(load(), tmp_path / "exp", resume=False, init=tmp_path / "a")
    train_a_step(experiment)
    open_experiment(load(), experiment.root, resume=True, init=tmp_path / "a")
    with pytest.raises(ValueError, match=r"expected no other first weights than .*/a for .* /.*/b"):
        open_experiment(load(), experiment.root, resume=True, init=tmp_path / "b")


def test_half_made_folder_is_made_anew(
    experiment: Experiment, load: LoadConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    experiment.provenance.unlink()
    experiment.config.write_text("half")
    open_experiment(load(), experiment.root, resume=True, init=None)
    assert load_config(experiment.config) == load()
    assert f"nothing to resume in {experiment.root}" in caplog.text


@pytest.mark.parametrize("name", ["train", "validation", "tokenizer"])
def test_missing_data_is_named_before_anything_is_written(
    name: str, load: LoadConfig, tmp_path: Path
) -> None:
    config = load(f"data.{name}={tmp_path / 'absent'}")
    with pytest.raises(FileNotFoundError, match="absent, found no file"):
        open_experiment(config, tmp_path / "exp", resume=False, init=None)
    assert not (tmp_path / "exp").exists()


def test_unset_data_is_named(corpus: Path, load: LoadConfig, tmp_path: Path) -> None:
    text = (corpus / "config.toml").read_text().replace('train = "train.jsonl"\n', "")
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ValueError, match=r"expected data\.train, found nothing"):
        open_experiment(
            load_config(tmp_path / "config.toml"), tmp_path / "exp", resume=False, init=None
        )


def test_folder_that_cannot_be_written_is_one_line(load: LoadConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"expected to write .*Not a directory; give a folder"):
        open_experiment(load(), tmp_path / "file" / "exp", resume=False, init=None)


def test_init_is_remembered(load: LoadConfig, tmp_path: Path) -> None:
    experiment = open_experiment(load(), tmp_path / "exp", resume=False, init=tmp_path / "other")
    init = json.loads(experiment.provenance.read_text())["init"]
    assert init["experiment"] == str(tmp_path / "other")


def test_other_statistics_come_too_late(load: LoadConfig, tmp_path: Path) -> None:
    first = tmp_path / "first"
    experiment = open_experiment(
        load(), tmp_path / "exp", resume=False, init=first, init_statistics="estimate"
    )
    train_a_step(experiment)
    for asked in (None, "estimate"):
        open_experiment(load(), experiment.root, resume=True, init=first, init_statistics=asked)
    with pytest.raises(ValueError, match=r"expected --init-statistics estimate for .* found keep"):
        open_experiment(load(), experiment.root, resume=True, init=first, init_statistics="keep")


@pytest.mark.parametrize(("has_file", "taken"), [(True, "estimate"), (False, None)])
def test_init_of_0_1_0_is_read_as_estimated(
    experiment: Experiment, *, has_file: bool, taken: str | None
) -> None:
    record = json.loads(experiment.provenance.read_text())
    experiment.provenance.write_text(json.dumps(record | {"init": "/base"}))
    if has_file:
        experiment.normalisation.touch()
    init = read_provenance(experiment)["init"]
    assert (init["experiment"], init["statistics"]) == ("/base", taken)
