"""Initialisation from another experiment: its weights, and the feature statistics they expect."""

import logging
from pathlib import Path
from typing import Literal, TypeAlias

from asr.ctc import CtcModel
from asr.features.base import FrontendConfig
from asr.features.frontend import parse_frontend
from asr.features.normalisation import Normalisation
from asr.files import WEIGHTS_FILE, Experiment
from asr.model.weights import load_weights, read_weights
from asr.schema import read_toml

logger = logging.getLogger(__name__)

_HEAD = "head."

InitStatistics: TypeAlias = Literal["keep", "estimate"]
"""Feature statistics beside first weights: those of their training, or those of the new data."""


def initialise_from(model: CtcModel, source: Path, *, same_tokenizer: bool) -> None:
    """Copy weights into a model.

    Args:
        model: The model to change; its head keeps its own first weights where the tokens differ.
        source: Folder with `model.safetensors`.
        same_tokenizer: Whether the labels mean the same in both.

    Raises:
        FileNotFoundError: There are no weights.
        ValueError: They are damaged or belong to another architecture.
    """
    path = source / WEIGHTS_FILE
    weights = read_weights(path)
    if not same_tokenizer:
        logger.info("new CTC head: %s has another tokenizer", source)
        weights = {name: value for name, value in weights.items() if not name.startswith(_HEAD)}
        own = model.state_dict()
        weights |= {name: value for name, value in own.items() if name.startswith(_HEAD)}
    load_weights(model, weights, path=path)


def choose_statistics(
    features: FrontendConfig, source: Path, *, asked: InitStatistics | None
) -> InitStatistics | None:
    """Which feature statistics a training takes that begins with the weights of `source`.

    Args:
        features: The section `[features]` of the new training.
        source: Experiment or bundle that the weights come from.
        asked: What the user asked for; None to keep them where that is possible.

    Returns:
        What to take; None where features are normalised by utterance, without statistics.

    Raises:
        ValueError: What was asked for is not possible, or a file of `source` is damaged.
    """
    if features.normalisation != "global":
        if asked is not None:
            raise ValueError(
                'expected features.normalisation = "global" with --init-statistics, found '
                f"{features.normalisation!r}, which has no statistics; leave --init-statistics out"
            )
        return None
    if asked == "estimate":
        logger.info("feature statistics: estimated on the training data, as asked")
        return "estimate"
    obstacle = _obstacle(features, Experiment(source))
    if obstacle is None:
        logger.info("feature statistics: kept from %s", source)
        return "keep"
    if asked == "keep":
        raise ValueError(
            f"expected feature statistics of {source} to keep, found {obstacle}; give "
            "--init-statistics estimate or the [features] that the weights were trained with"
        )
    logger.info(
        "feature statistics: estimated on the training data, as those of %s cannot be kept: %s",
        source,
        obstacle,
    )
    return "estimate"


def _obstacle(features: FrontendConfig, source: Experiment) -> str | None:
    """Why the statistics of `source` are of no use; None where they are."""
    for path in (source.normalisation, source.config):
        if not path.is_file():
            return f"no file {path.name}"
    try:
        theirs = parse_frontend(read_toml(source.config).get("features", {}))
    except ValueError as error:
        raise ValueError(f"{source.config}: {error}") from None
    if theirs != features:
        return "other [features]"
    Normalisation.load(source.normalisation)
    return None
