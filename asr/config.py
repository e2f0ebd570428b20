"""The sections of every part composed into one experiment config: load, override, save."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tomli_w
from pydantic import BeforeValidator, SerializeAsAny, TypeAdapter
from pydantic.dataclasses import dataclass

from asr.data.loader import DataConfig
from asr.data.token_stream import TextDataConfig
from asr.features.augmentation import AugmentationConfig
from asr.features.base import FrontendConfig
from asr.features.frontend import parse_frontend
from asr.files import write_text
from asr.model.encoders import ENCODERS, EncoderConfig, parse_encoder
from asr.model.language_model import LanguageModelConfig
from asr.schema import STRICT, is_optional_section, parse, read_toml
from asr.training.config import CtcTrainingConfig, TrainingConfig

PACKAGED_CONFIGS = Path(__file__).parent / "conf"
"""Folder of the configs that come with the package; in a checkout, that of the recipe."""
_PATHS = ("train", "validation", "tokenizer")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExperimentConfig:
    """Everything that an experiment is made from."""

    data: DataConfig
    """Manifests, tokenizer and batches."""
    features: Annotated[SerializeAsAny[FrontendConfig], BeforeValidator(parse_frontend)]
    """Waveform to features."""
    augmentation: AugmentationConfig
    """Changes to training audio."""
    model: Annotated[SerializeAsAny[EncoderConfig], BeforeValidator(parse_encoder)]
    """Features to log-probabilities."""
    training: CtcTrainingConfig
    """Loss to weights."""

    def __post_init__(self) -> None:
        if self.training.streaming is not None and self.features.normalisation != "global":
            raise ValueError(
                'expected features.normalisation = "global" with [training.streaming], found '
                f"{self.features.normalisation!r}, which cannot stream; change one"
            )
        if self.training.consistency is not None and self.augmentation.spec_augment is None:
            raise ValueError(
                "expected [augmentation.spec_augment] with [training.consistency], whose two views "
                "differ by its masks, found none; add it"
            )
        if self.training.strategy == "fsdp" and self.model.reversible:
            raise ValueError(
                "expected training.strategy = 'ddp' with model.reversible, whose backward pass "
                "needs whole weights, found 'fsdp'; change one"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LanguageModelExperimentConfig:
    """Everything that a neural language model is made from."""

    data: TextDataConfig
    """Text, tokenizer and batches."""
    model: LanguageModelConfig
    """Tokens to log-probabilities."""
    training: TrainingConfig
    """Loss to weights."""


AnyExperimentConfig = ExperimentConfig | LanguageModelExperimentConfig
_Config = TypeVar("_Config", bound=AnyExperimentConfig)


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read the TOML config of a recogniser; see `load_config_as`."""
    return load_config_as(ExperimentConfig, path, overrides)


def load_config_as(cls: type[_Config], path: Path | str, overrides: Sequence[str] = ()) -> _Config:
    """Read a TOML config.

    Args:
        cls: What it is the config of.
        path: The file, or the name of one that comes with the package; see `find_config`. Relative
            paths in its `[data]` are relative to its folder.
        overrides: `section.key=value`, applied in order; the value is TOML, or else a plain string.
            `none` takes an optional section out. Another `kind` drops all settings of the former
            one, another `model.encoder` those that the new encoder has not.
            Paths are relative to the working folder. A new `kind` drops the former kind's settings.

    Returns:
        The checked config.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no TOML, or a key is unknown, missing or wrong; one line.
    """
    path = find_config(Path(path))
    tables = read_toml(path)
    _resolve_paths(tables, path.parent.absolute())
    for override in overrides:
        _apply_override(cls, tables, override)
    _resolve_paths(tables, Path.cwd())
    try:
        return parse(cls, tables, where="")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def find_config(path: Path) -> Path:
    """The config file that a path or a name stands for.

    Args:
        path: A file; or, where there is none and the path has no suffix, the name of a config that
            comes with the package, such as `conformer_tiny` or `lm/transformer_small`.

    Returns:
        The file.

    Raises:
        FileNotFoundError: There is neither a file nor such a name.
    """
    if path.exists() or path.suffix:
        return path
    packaged = sorted(PACKAGED_CONFIGS.rglob("*.toml"))
    names = {
        file.relative_to(PACKAGED_CONFIGS).with_suffix("").as_posix(): file for file in packaged
    }
    found = names.get(path.as_posix())
    if found is None:
        raise FileNotFoundError(
            f"expected a config file (.toml), or the name of one in {PACKAGED_CONFIGS} "
            f"({', '.join(names)}), found {path}; give one of these"
        )
    return found


def save_config(config: AnyExperimentConfig, path: Path) -> None:
    """Write the resolved config as TOML; `load_config_as` gives it back."""
    tables = TypeAdapter(type(config)).dump_python(config, mode="json", exclude_none=True)
    write_text(path, tomli_w.dumps(tables))


def _resolve_paths(tables: Mapping[str, Any], folder: Path) -> None:
    data = tables.get("data")
    if isinstance(data, dict):
        for key in _PATHS:
            if isinstance(data.get(key), str):
                data[key] = str((folder / data[key]).resolve())


def _apply_override(cls: type, tables: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ValueError(f"expected an override of the form section.key=value, found {override!r}")
    table = tables
    for key in keys[:-1]:
        if table.get(key) is None:
            table[key] = {}
        table = table[key]
        if not isinstance(table, dict):
            raise ValueError(f"{name}: expected {key!r} to be a section, found a value")
    value = _value(text.strip())
    if value == "none" and is_optional_section(cls, keys):
        value = None
    _drop_settings_of_the_former(table, keys, value)
    table[keys[-1]] = value


def _drop_settings_of_the_former(table: dict[str, Any], keys: list[str], value: object) -> None:
    """Another word in a discriminator leaves only what its own section knows."""
    if keys[-1] == "kind":
        table.clear()
    elif keys == ["model", "encoder"] and value in ENCODERS:
        known = {item.name for item in fields(ENCODERS[str(value)].config)}
        for name in [name for name in table if name not in known]:
            del table[name]


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
