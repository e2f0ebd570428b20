from pathlib import Path

import pytest
import torch

from asr.config import load_config, save_config
from asr.ctc import build_model
from asr.features.log_mel import LogMelConfig
from asr.model.attention import ATTENTION

_RECIPE = Path(__file__).parent.parent / "recipes" / "librispeech"
_CONFIGS = sorted((_RECIPE / "conf").glob("*.toml"))
_SMALL = next(path for path in _CONFIGS if path.stem == "conformer_small")


@pytest.mark.parametrize("word", sorted(ATTENTION))
@pytest.mark.parametrize("path", _CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_without_data_and_takes_any_word(path: Path, word: str) -> None:
    config = load_config(path, [f"model.attention.kind={word}"])
    assert config.model.attention.kind == word
    assert config.data.train is None
    with torch.device("meta"):
        assert build_model(config.model, vocab_size=10).subsampling_factor == 4


def test_saved_config_loads_as_it_was(tmp_path: Path) -> None:
    config = load_config(_SMALL, ["data.train=some/train.jsonl", "training.betas=[0.8, 0.9]"])
    save_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config
    assert config.training.betas == (0.8, 0.9)


def test_features_without_a_kind_are_log_mel(tmp_path: Path) -> None:
    assert "kind" not in _SMALL.read_text().split("[features]")[1].split("[", 1)[0]
    config = load_config(_SMALL)
    assert config.features == LogMelConfig(kind="log_mel")
    save_config(config, tmp_path / "config.toml")
    assert 'kind = "log_mel"' in (tmp_path / "config.toml").read_text()


def test_paths_follow_the_file_or_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _SMALL.read_text().replace("[data]", '[data]\ntrain = "sub/train.jsonl"', 1)
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "c.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    config = load_config("conf/c.toml", ["data.validation=dev.jsonl"])
    assert config.data.train == folder / "sub" / "train.jsonl"
    assert config.data.validation == tmp_path / "dev.jsonl"


def test_overrides_apply_in_order_and_take_toml_or_text() -> None:
    config = load_config(
        _SMALL,
        ["model.layers=3", "model.layers=4", 'features.normalisation="utterance"'],
    )
    assert (config.model.layers, config.features.normalisation) == (4, "utterance")


def test_optional_section_is_taken_out_and_put_in_again() -> None:
    sections = ["training.consistency.weight=0.3", "augmentation.spec_augment.time_masks=3"]
    config = load_config(_SMALL, [*sections, "training.consistency=none"])
    assert config.training.consistency is None
    assert config.augmentation.spec_augment is not None
    assert load_config(_SMALL, [*sections, "training.consistency=none", sections[0]]) == (
        load_config(_SMALL, sections)
    )
    plain = load_config(_SMALL, ["augmentation.spec_augment=none"])
    assert plain.augmentation.spec_augment is None


def test_none_stays_a_word_where_no_section_is_optional() -> None:
    words = ["training.averaging=none", "training.ema_decay=0", "training.averaged_epochs=0"]
    assert load_config(_SMALL, words).training.averaging == "none"
    with pytest.raises(ValueError, match=r"model\.subsampling"):
        load_config(_SMALL, ["model.subsampling=none"])


def test_another_encoder_keeps_what_it_shares_with_the_former() -> None:
    former = load_config(_SMALL, ["model.width=72", "model.heads=4"])
    with pytest.raises(ValueError, match=r"model\.kernel_frames: expected a known key"):
        load_config(_SMALL, ["model.encoder=transformer", "model.kernel_frames=5"])
    config = load_config(_SMALL, ["model.width=72", "model.heads=4", "model.encoder=transformer"])
    assert (config.model.encoder, config.model.width) == ("transformer", 72)
    assert config.model.attention == former.model.attention
    assert not hasattr(config.model, "kernel_frames")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learnig_rate=1", r"training\.learnig_rate.*did you mean 'learning_rate'"),
        ("trainin.epochs=1", r"trainin: expected a known key.*did you mean 'training'"),
        ("model.widht=3", r"model\.widht: expected a known key.*did you mean 'width'"),
        ("model.attention.kind=fulll", r"model\.attention\.kind.*did you mean 'full'"),
        ("model.attention.window=3", r"model\.attention\.window: expected a known key"),
        ("augmentation.spec_augment.time_mask=1", r"did you mean 'time_masks'"),
        (
            "features.mel_binz=40",
            r"features\.mel_binz: .* did you mean 'mel_bins'",
        ),
        ("features.kind=log_mell", r"features\.kind: expected one of .*did you mean 'log_mel'"),
        ("features.hop_seconds=0.0001234", r"features: expected hop_seconds to be a whole number"),
        ("training.epochs=many", r"training\.epochs.*found 'many'"),
        ("training.learning_rate=nan", r"training\.learning_rate"),
        ("training", r"expected an override of the form section\.key=value, found 'training'"),
        ("epochs=3", r"expected an override of the form section\.key=value"),
        ("training.epochs.x=3", r"expected 'epochs' to be a section, found a value"),
    ],
)
def test_wrong_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_config(_SMALL, [override])
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a config at .*none\.toml"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[model\n")
    with pytest.raises(ValueError, match=r"broken\.toml: expected TOML"):
        load_config(tmp_path / "broken.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ValueError, match="data: expected a value, found none"):
        load_config(tmp_path / "empty.toml")
