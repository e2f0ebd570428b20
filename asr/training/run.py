"""`train`: from a config to an experiment folder with trained weights."""

import logging
from dataclasses import dataclass
from pathlib import Path

from lightning.fabric import Fabric

from asr.config import ExperimentConfig
from asr.data.batch import Batch
from asr.features.extractor import FeatureExtractor
from asr.features.normalisation import Normalisation
from asr.features.spec_augment import SpecAugment
from asr.model import CtcModel, build_model
from asr.tokens.tokenizer import Tokenizer
from asr.training.checkpoint import Progress, latest_checkpoint, load_checkpoint
from asr.training.config import TrainingConfig
from asr.training.data import TrainingData, load_data, load_normalisation
from asr.training.engine import launch
from asr.training.experiment import (
    Experiment,
    open_experiment,
    read_provenance,
    write_provenance,
)
from asr.training.initialise import initialise_from
from asr.training.learner import Learner
from asr.training.loop import TrainingLoop
from asr.training.metrics import MetricsWriter
from asr.training.objective import CtcObjective
from asr.training.probe import largest_batch, probe_memory
from asr.training.seeding import seed_weights
from asr.training.validation import CtcValidator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """How a call of `train` ended.

    Args:
        signal: The signal that stopped it; None when training is complete.
        already_finished: Whether there was nothing left to do.
        step: Optimizer steps done.
    """

    signal: int | None
    already_finished: bool
    step: int


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
    fabric = launch(config.training)
    experiment = _open(config, out, fabric=fabric, resume=resume, init=init)
    source = read_provenance(experiment)["init"]
    newest = latest_checkpoint(experiment.checkpoints)
    checkpoint = None if newest is None else load_checkpoint(newest)
    if checkpoint is not None:
        logger.info("resuming %s at step %d", out, checkpoint.progress.step)
        if _is_finished(config.training, checkpoint.progress):
            return TrainingOutcome(
                signal=None, already_finished=True, step=checkpoint.progress.step
            )
    tokenizer = Tokenizer.load(experiment.tokenizer)
    seed_weights(config.training.seed)
    model = build_model(
        config.model, vocab_size=tokenizer.vocab_size, feature_size=config.features.mel_bins
    )
    data = load_data(config, model, tokenizer, fabric=fabric)
    normalisation = load_normalisation(config.features, data.utterances, experiment, fabric=fabric)
    if checkpoint is None and source is not None:
        theirs = Path(source) / "tokenizer.model"
        same = theirs.is_file() and theirs.read_bytes() == experiment.tokenizer.read_bytes()
        initialise_from(model, Path(source), same_tokenizer=same)
    learner = _learner(config, model, normalisation, experiment, fabric=fabric)
    logger.info(
        "%d parameters, %d batches an epoch on each of %d processes (%s)",
        learner.parameters,
        len(data.training),
        fabric.world_size,
        fabric.device,
    )
    if config.training.memory_probe:
        probe_memory(learner, _probe_batch(config, data, tokenizer), device=fabric.device)
    if checkpoint is not None:
        learner.load(
            model=checkpoint.model, optimizer=checkpoint.optimizer, average=checkpoint.average
        )
    progress = Progress() if checkpoint is None else checkpoint.progress
    validator = _validator(config, data, model, tokenizer, fabric=fabric)
    loop = TrainingLoop(
        config.training,
        fabric=fabric,
        learner=learner,
        loader=data.training,
        validator=validator,
        experiment=experiment,
        progress=progress,
    )
    received = _run(loop, experiment, progress, fabric=fabric, parameters=learner.parameters)
    return TrainingOutcome(signal=received, already_finished=False, step=progress.step)


def _is_finished(config: TrainingConfig, progress: Progress) -> bool:
    by_epochs = 0 < config.epochs <= progress.epoch
    by_steps = 0 < config.max_steps <= progress.step and progress.ended_step == progress.step
    return by_epochs or by_steps


def _open(
    config: ExperimentConfig, out: Path, *, fabric: Fabric, resume: bool, init: Path | None
) -> Experiment:
    """Open the folder on the main process; what goes wrong there ends all processes alike."""
    error: ValueError | OSError | None = None
    if fabric.is_global_zero:
        try:
            open_experiment(config, out, resume=resume, init=init)
        except (ValueError, OSError) as found:
            error = found
    if fabric.world_size > 1:
        failed = fabric.broadcast(error is not None)
        if failed and error is None:
            raise SystemExit(1)
    if error is not None:
        raise error
    return Experiment(out)


def _learner(
    config: ExperimentConfig,
    model: CtcModel,
    normalisation: Normalisation | None,
    experiment: Experiment,
    *,
    fabric: Fabric,
) -> Learner:
    masks = config.augmentation.spec_augment
    objective = CtcObjective(
        model,
        extractor=FeatureExtractor(config.features, normalisation),
        spec_augment=None if masks is None else SpecAugment(masks),
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
        frame_seconds=config.features.hop_seconds * model.subsampling_factor,
    )


def _run(
    loop: TrainingLoop,
    experiment: Experiment,
    progress: Progress,
    *,
    fabric: Fabric,
    parameters: int,
) -> int | None:
    if not fabric.is_global_zero:
        return loop.run(None)
    record = read_provenance(experiment)
    changes = {"starts": record["starts"] + 1, "parameters": parameters}
    write_provenance(experiment, record | changes)
    with MetricsWriter(
        experiment.metrics, experiment.events, rows=progress.metrics_rows, step=progress.step
    ) as metrics:
        return loop.run(metrics)
