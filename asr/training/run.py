"""A training run: from a config to an experiment folder, or on from its newest checkpoint."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lightning.fabric import Fabric

from asr.config import AnyExperimentConfig, ExperimentConfig
from asr.ctc import CtcModel, build_model, more_time_masks
from asr.data.batch import Batch
from asr.data.loader import ResumableLoader
from asr.features.frontend import Frontend
from asr.features.normalisation import Normalisation
from asr.features.spec_augment import SpecAugment
from asr.files import Experiment
from asr.tokens.tokenizer import Tokenizer
from asr.training.checkpoint import TrainingProgress, latest_checkpoint, load_checkpoint
from asr.training.config import TrainingConfig
from asr.training.data import TrainingData, load_data, load_normalisation
from asr.training.engine import decide_precision, launch
from asr.training.experiment import (
    decided_precision,
    finished_step,
    open_experiment,
    read_provenance,
    start_record,
    write_provenance,
)
from asr.training.initialise import InitStatistics, initialise_from
from asr.training.learner import Learner
from asr.training.loop import TrainingLoop
from asr.training.metrics import MetricsWriter
from asr.training.objective import CtcObjective, TrainingBatch
from asr.training.probe import largest_batch, probe_memory
from asr.training.seeding import seed_weights
from asr.training.validation import CtcValidator, Validator

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


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an experiment is trained with.

    Args:
        learner: The model with its first weights.
        loader: Training data.
        validator: Validation data.
        largest_batch: Makes a batch that needs as much memory as any.
    """

    learner: Learner
    loader: ResumableLoader[TrainingBatch]
    validator: Validator
    largest_batch: Callable[[], TrainingBatch]


Build = Callable[[Fabric, Experiment, bool], Parts]
"""Makes the parts; the last argument says whether training begins, so that first weights count."""


def run_training(
    config: AnyExperimentConfig,
    out: Path,
    *,
    resume: bool,
    init: Path | None,
    build: Build,
    init_statistics: InitStatistics | None = None,
) -> TrainingOutcome:
    """Training of whatever `build` makes, or its continuation.

    Args:
        config: The resolved config.
        out: The experiment folder; it must not exist unless `resume`.
        resume: Go on from the newest checkpoint in `out`, or begin where there is none.
        init: Experiment whose weights come first; None for random ones.
        build: Makes what is trained.
        init_statistics: Feature statistics to take with `init`; None to keep its own if possible.

    Returns:
        How it ended.

    Raises:
        FileNotFoundError: Data, the tokenizer or weights are missing.
        ValueError: Folder, data or first weights do not fit the config, or a loss is not finite.
        OSError: Something could not be written.
    """
    fabric = launch(config.training)
    experiment = open_on_main_process(
        config, out, fabric=fabric, resume=resume, init=init, init_statistics=init_statistics
    )
    done = finished_step(experiment, config.training)
    if done is not None:
        return TrainingOutcome(signal=None, already_finished=True, step=done)
    newest = latest_checkpoint(experiment.checkpoints)
    checkpoint = None if newest is None else load_checkpoint(newest)
    if checkpoint is not None:
        logger.info("resuming %s at step %d", out, checkpoint.progress.step)
        if _is_finished(config.training, checkpoint.progress):
            return TrainingOutcome(
                signal=None, already_finished=True, step=checkpoint.progress.step
            )
    former = None if checkpoint is None else decided_precision(experiment)
    precision = decide_precision(fabric, config.training, former=former)
    parts = build(fabric, experiment, checkpoint is None)
    learner = parts.learner
    logger.info(
        "%d parameters, %d batches an epoch on each of %d processes (%s)",
        learner.parameters,
        len(parts.loader),
        fabric.world_size,
        fabric.device,
    )
    if config.training.memory_probe:
        probe_memory(learner, parts.largest_batch(), device=fabric.device)
    if checkpoint is not None:
        learner.load(
            model=checkpoint.model, optimizer=checkpoint.optimizer, average=checkpoint.average
        )
    progress = TrainingProgress() if checkpoint is None else checkpoint.progress
    loop = TrainingLoop(
        config.training,
        fabric=fabric,
        learner=learner,
        loader=parts.loader,
        validator=parts.validator,
        experiment=experiment,
        progress=progress,
    )
    if fabric.is_global_zero:
        start = start_record(
            step=progress.step,
            precision=precision,
            device=str(fabric.device),
            processes=fabric.world_size,
        )
        record = read_provenance(experiment)
        changes = {"starts": [*record["starts"], start], "parameters": learner.parameters}
        write_provenance(experiment, record | changes)
    received = _run(loop, experiment, progress, fabric=fabric)
    return TrainingOutcome(signal=received, already_finished=False, step=progress.step)


def _is_finished(config: TrainingConfig, progress: TrainingProgress) -> bool:
    by_epochs = 0 < config.epochs <= progress.epoch
    by_steps = 0 < config.max_steps <= progress.step and progress.ended_step == progress.step
    return by_epochs or by_steps


def open_on_main_process(
    config: AnyExperimentConfig,
    out: Path,
    *,
    fabric: Fabric,
    resume: bool,
    init: Path | None,
    init_statistics: InitStatistics | None = None,
) -> Experiment:
    """`open_experiment` on the main process; what goes wrong there ends all processes alike.

    Args:
        config: The resolved config.
        out: The folder.
        fabric: Lightning's launched engine.
        resume: Whether the folder may be there already.
        init: Experiment whose weights come first; None for random ones.
        init_statistics: Feature statistics to take with `init`; None to keep its own if possible.

    Returns:
        The folder's paths.

    Raises:
        FileNotFoundError: A manifest or the tokenizer is missing.
        ValueError: The folder does not fit the config.
        OSError: Something could not be written.
        SystemExit: The main process raised one of these.
    """
    error: ValueError | OSError | None = None
    if fabric.is_global_zero:
        try:
            open_experiment(config, out, resume=resume, init=init, init_statistics=init_statistics)
        except (ValueError, OSError) as found:
            error = found
    if fabric.world_size > 1:
        failed = fabric.broadcast(error is not None)
        if failed and error is None:
            raise SystemExit(1)
    if error is not None:
        raise error
    return Experiment(out)


def _run(
    loop: TrainingLoop, experiment: Experiment, progress: TrainingProgress, *, fabric: Fabric
) -> int | None:
    if not fabric.is_global_zero:
        return loop.run(None)
    with MetricsWriter(
        experiment.metrics, experiment.events, rows=progress.metrics_rows, step=progress.step
    ) as metrics:
        return loop.run(metrics)


logger = logging.getLogger(__name__)


def train(
    config: ExperimentConfig,
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    init_statistics: InitStatistics | None = None,
) -> TrainingOutcome:
    """Training of a recogniser, or its continuation from the newest checkpoint.

    Args:
        config: The resolved config.
        out: The experiment folder; it must not exist unless `resume`.
        resume: Go on from the newest checkpoint in `out`, or begin where there is none.
        init: Experiment or bundle whose weights come first; None for random ones.
        init_statistics: Feature statistics to take with `init`: "keep" its own, or "estimate" them
            on the training data; None to keep them where the features are the same.

    Returns:
        How it ended.

    Raises:
        FileNotFoundError: A manifest, the tokenizer or weights are missing.
        ValueError: Folder, data or first weights do not fit the config, or a loss is not finite.
        OSError: Something could not be written.
    """
    return run_training(
        config,
        out,
        resume=resume,
        init=init,
        init_statistics=init_statistics,
        build=partial(recogniser_parts, config),
    )


def recogniser_parts(
    config: ExperimentConfig, fabric: Fabric, experiment: Experiment, begins: bool
) -> Parts:
    """What a recogniser is trained with; a `Build` once the config is given."""
    tokenizer = Tokenizer.load(experiment.tokenizer)
    seed_weights(config.training.seed)
    model = build_model(
        config.model, vocab_size=tokenizer.vocab_size, feature_size=config.features.feature_size
    )
    data = load_data(config, model, tokenizer, fabric=fabric)
    init = read_provenance(experiment)["init"]
    source = None if init is None else Path(init["experiment"])
    normalisation = load_normalisation(
        config.features,
        data.utterances,
        experiment,
        fabric=fabric,
        begins=begins,
        keep_from=source if init is not None and init["statistics"] == "keep" else None,
    )
    if begins and source is not None:
        theirs = Experiment(source).tokenizer
        same = theirs.is_file() and theirs.read_bytes() == experiment.tokenizer.read_bytes()
        initialise_from(model, source, same_tokenizer=same)
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
