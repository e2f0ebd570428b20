from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asr.config import ExperimentConfig
from asr.ctc import CtcModel, build_model
from asr.files import Experiment
from asr.training.checkpoint import save_weights
from asr.training.experiment import read_provenance
from asr.training.initialise import InitStatistics, initialise_from
from asr.training.run import train

LoadConfig = Callable[..., ExperimentConfig]


def _model(config: ExperimentConfig, *, seed: int, vocab_size: int = 9) -> CtcModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(config.model, vocab_size=vocab_size, feature_size=20)


def test_all_weights_come_from_the_source(load: LoadConfig, tmp_path: Path) -> None:
    source, model = _model(load(), seed=1), _model(load(), seed=2)
    save_weights(tmp_path / "model.safetensors", source.state_dict())
    initialise_from(model, tmp_path, same_tokenizer=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name


_CONDITION = (
    "model.layers=2",
    "model.intermediate_layers=[1]",
    "model.intermediate_weight=0.3",
    "model.intermediate_use=condition",
)


@pytest.mark.parametrize("overrides", [(), _CONDITION])
def test_other_tokens_get_a_new_head(
    *,
    overrides: tuple[str, ...],
    load: LoadConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load(*overrides)
    source, model = _model(config, seed=1), _model(config, seed=2, vocab_size=5)
    head = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
    assert len(head) == (4 if overrides else 2)
    save_weights(tmp_path / "model.safetensors", source.state_dict())
    with caplog.at_level("INFO"):
        initialise_from(model, tmp_path, same_tokenizer=False)
    assert "new CTC head" in caplog.text
    assert all(torch.equal(t, head[name]) for name, t in model.head.state_dict().items())
    encoder = source.encoder.state_dict()
    assert all(torch.equal(t, encoder[name]) for name, t in model.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("override", "found"),
    [("model.width=32", r"\(16x?.* instead of 32"), ("model.layers=2", "nothing instead of")],
)
def test_other_architecture_is_one_line(
    override: str, found: str, load: LoadConfig, tmp_path: Path
) -> None:
    save_weights(tmp_path / "model.safetensors", _model(load(), seed=1).state_dict())
    model = _model(load(override), seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=found) as error:
        initialise_from(model, tmp_path, same_tokenizer=True)
    assert "\n" not in str(error.value)
    assert "encoder." in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_folder_without_weights_is_named(load: LoadConfig, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected weights"):
        initialise_from(_model(load(), seed=1), tmp_path, same_tokenizer=True)


_SHORT = ("training.max_steps=1", "augmentation.speed_factors=[]")


@pytest.fixture
def first(load: LoadConfig, tmp_path: Path) -> Experiment:
    """An experiment to begin with."""
    train(load(*_SHORT), tmp_path / "first")
    return Experiment(tmp_path / "first")


@pytest.mark.parametrize(
    ("asked", "taken", "said"),
    [
        (None, "keep", "feature statistics: kept from"),
        ("keep", "keep", "feature statistics: kept from"),
        ("estimate", "estimate", "feature statistics: estimated on the training data, as asked"),
    ],
)
def test_statistics_are_kept_unless_told_otherwise(
    *,
    asked: InitStatistics | None,
    taken: str,
    said: str,
    first: Experiment,
    load: LoadConfig,
    corpus: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load(*_SHORT, f"data.train={corpus / 'validation.jsonl'}")
    with caplog.at_level("INFO"):
        train(config, tmp_path / "second", init=first.root, init_statistics=asked)
    second = Experiment(tmp_path / "second")
    same = second.normalisation.read_bytes() == first.normalisation.read_bytes()
    assert same == (taken == "keep")
    init = read_provenance(second)["init"]
    assert init == {
        "experiment": str(first.root), "asked_statistics": asked, "statistics": taken,
    }  # fmt: skip
    assert caplog.text.count("feature statistics:") == caplog.text.count(said) == 1


@pytest.mark.parametrize("obstacle", [r"other \[features\]", "no file normalisation.json"])
def test_statistics_that_cannot_be_kept(
    *,
    obstacle: str,
    first: Experiment,
    load: LoadConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    overrides = list(_SHORT)
    if "other" in obstacle:
        overrides.append("features.window_seconds=0.02")
    else:
        first.normalisation.unlink()
    out = tmp_path / "second"
    with pytest.raises(ValueError, match=f"to keep, found {obstacle}; give") as error:
        train(load(*overrides), out, init=first.root, init_statistics="keep")
    assert "\n" not in str(error.value)
    assert not out.exists()
    with caplog.at_level("INFO"):
        train(load(*overrides), out, init=first.root)
    assert caplog.text.count("cannot be kept") == 1
    init = read_provenance(Experiment(out))["init"]
    assert (init["asked_statistics"], init["statistics"]) == (None, "estimate")


def test_statistics_without_any_to_choose(
    first: Experiment, load: LoadConfig, tmp_path: Path
) -> None:
    config = load(*_SHORT, "features.normalisation=utterance")
    with pytest.raises(ValueError, match="which has no statistics; leave"):
        train(config, tmp_path / "second", init=first.root, init_statistics="estimate")
    train(config, tmp_path / "second", init=first.root)
    assert read_provenance(Experiment(tmp_path / "second"))["init"]["statistics"] is None


def test_resume_goes_on_with_the_statistics_of_the_start(
    *,
    first: Experiment,
    load: LoadConfig,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = f"data.train={corpus / 'validation.jsonl'}"
    second = Experiment(tmp_path / "second")
    train(load(*_SHORT, other), second.root, init=first.root)
    kept = second.normalisation.read_bytes()
    first.normalisation.unlink()

    def estimated(_: object) -> None:
        raise AssertionError("estimated anew")

    monkeypatch.setattr("asr.training.data.estimate_normalisation", estimated)
    train(load(*_SHORT, other, "training.max_steps=2"), second.root, resume=True)
    assert second.normalisation.read_bytes() == kept
    second.normalisation.unlink()
    with pytest.raises(FileNotFoundError, match="expected the feature statistics of the training"):
        train(load(*_SHORT, other, "training.max_steps=3"), second.root, resume=True)
