"""`train`: from a config to an experiment folder with a trained recogniser."""

import logging
from functools import partial
from pathlib import Path

from lightning.fabric import Fabric

from asr.config import ExperimentConfig
from asr.ctc import CtcModel, build_model, more_time_masks
from asr.data.batch import Batch
from asr.features.frontend import Frontend
from asr.features.normalisation import Normalisation
from asr.features.spec_augment import SpecAugment
from asr.files import Experiment
from asr.tokens.tokenizer import Tokenizer
from asr.training.data import TrainingData, load_data, load_normalisation
from asr.training.dry_run import DryRun, dry_run_training
from asr.training.experiment import read_provenance
from asr.training.initialise import initialise_from
from asr.training.learner import Learner
from asr.training.objective import CtcObjective
from asr.training.probe import largest_batch
from asr.training.seeding import seed_weights
from asr.training.session import Parts, TrainingOutcome, run_training
from asr.training.validation import CtcValidator

logger = logging.getLogger(__name__)


def train(
    config: ExperimentConfig, out: Path, *, resume: bool = False, init: Path | None = None
) -> TrainingOutcome:
    """Train a model, or go on with it.

    Args:
        config: The resolved config.
        out: The experiment folder; it must not exist unless `resume`.
        resume: Go on from the newest checkpoint in `out`, or begin where there is none.
        init: Experiment or bundle whose weights come first; None for random ones.

    Returns:
        How it ended.

    Raises:
        FileNotFoundError: A manifest, the tokenizer or weights are missing.
        ValueError: Folder, data or first weights do not fit the config, or a loss is not finite.
        OSError: Something could not be written.
    """
    return run_training(config, out, resume=resume, init=init, build=partial(_parts, config))


def dry_run(config: ExperimentConfig, out: Path, *, init: Path | None = None) -> DryRun | None:
    """Say what a training would need and take; see `dry_run_training`.

    Args:
        config: The resolved config.
        out: The experiment folder that training would write.
        init: Experiment or bundle whose weights come first; None for random ones.

    Returns:
        What was found; None on all processes but the main one.

    Raises:
        FileNotFoundError: A manifest, the tokenizer or weights are missing.
        ValueError: Data or first weights do not fit the config, or memory does not suffice.
        OSError: Something could not be written.
    """
    return dry_run_training(config, out, init=init, build=partial(_parts, config))


def _parts(config: ExperimentConfig, fabric: Fabric, experiment: Experiment, begins: bool) -> Parts:
    tokenizer = Tokenizer.load(experiment.tokenizer)
    seed_weights(config.training.seed)
    model = build_model(
        config.model, vocab_size=tokenizer.vocab_size, feature_size=config.features.feature_size
    )
    data = load_data(config, model, tokenizer, fabric=fabric)
    normalisation = load_normalisation(config.features, data.utterances, experiment, fabric=fabric)
    source = read_provenance(experiment)["init"]
    if begins and source is not None:
        theirs = Experiment(Path(source)).tokenizer
        same = theirs.is_file() and theirs.read_bytes() == experiment.tokenizer.read_bytes()
        initialise_from(model, Path(source), same_tokenizer=same)
    return Parts(
        learner=_learner(config, model, normalisation, experiment, fabric=fabric),
        loader=data.training,
        validator=_validator(config, data, model, tokenizer, fabric=fabric),
        largest_batch=lambda: _probe_batch(config, data, tokenizer),
    )


def _learner(
    config: ExperimentConfig,
    model: CtcModel,
    normalisation: Normalisation | None,
    experiment: Experiment,
    *,
    fabric: Fabric,
) -> Learner:
    masks, consistency = config.augmentation.spec_augment, config.training.consistency
    if masks is not None and consistency is not None:
        masks = more_time_masks(masks, consistency.time_mask_factor)
        logger.info(
            "consistency: each batch goes through the model twice, as %g audio seconds, with %d "
            "time masks in each view",
            2 * config.data.batch_seconds,
            masks.time_masks,
        )
    objective = CtcObjective(
        model,
        extractor=Frontend(config.features, normalisation),
        spec_augment=None if masks is None else SpecAugment(masks),
        streaming=config.training.streaming,
        consistency=consistency,
    )
    return Learner(config.training, objective, fabric=fabric, checkpoints=experiment.checkpoints)


def _probe_batch(config: ExperimentConfig, data: TrainingData, tokenizer: Tokenizer) -> Batch:
    return largest_batch(
        data.utterances,
        batch_seconds=config.data.batch_seconds,
        slowest_speed=min(config.augmentation.speed_factors, default=1.0),
        sample_rate_hz=config.features.sample_rate_hz,
        longest_labels=max(len(tokenizer.encode(item.text or "")) for item in data.utterances),
    )


def _validator(
    config: ExperimentConfig,
    data: TrainingData,
    model: CtcModel,
    tokenizer: Tokenizer,
    *,
    fabric: Fabric,
) -> CtcValidator:
    return CtcValidator(
        data.validation,
        fabric=fabric,
        tokenizer=tokenizer,
        references=data.references,
        sample_rate_hz=config.features.sample_rate_hz,
        frame_seconds=config.features.seconds(
            config.features.start_sample(model.subsampling_factor)
        ),
    )
