"""The experiment folder: what lies where, how it begins, and what a resumed run must share."""

import csv
import hashlib
import json
import logging
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from asr.config import AnyExperimentConfig, ExperimentConfig, load_config_as, save_config
from asr.files import TOKENIZER_FILE, Experiment, write_atomically
from asr.tokens.normaliser import NORMALISER_VERSION
from asr.tokens.tokenizer import Tokenizer
from asr.training.checkpoint import latest_checkpoint
from asr.training.config import TrainingConfig
from asr.training.initialise import InitStatistics, choose_statistics

logger = logging.getLogger(__name__)

# What may change at a resume: weights do not depend on it, on the threads in their rounding alone.
_FREE = {
    "data.workers",
    "data.train",
    "data.validation",
    "data.tokenizer",
    "training.threads",
    "training.memory_probe",
    "training.checkpoint_every_seconds",
    "training.checkpoint_every_steps",
    "training.keep_checkpoints",
    "training.log_every_steps",
}
# The cosine is laid out over all steps; the other schedule does not know where the end is.
_FREE_WITHOUT_COSINE = {"training.epochs", "training.max_steps"}
# What version 0.1.0 recorded of the first start, beside what belongs to the experiment.
_OF_A_START = ("command", "commit", "versions", "hardware")
_PACKAGES = (
    "attune-asr",
    "torch",
    "torchaudio",
    "lightning",
    "sentencepiece",
    "numpy",
    "soundfile",
)


def open_experiment(
    config: AnyExperimentConfig,
    out: Path,
    *,
    resume: bool,
    init: Path | None,
    init_statistics: InitStatistics | None = None,
) -> Experiment:
    """Begin an experiment folder, or check that one can be resumed.

    Args:
        config: The resolved config.
        out: The folder.
        resume: Whether the folder may be there already.
        init: Where the first weights come from; None for random ones.
        init_statistics: Feature statistics to take with them; None to keep theirs where possible.

    Returns:
        The folder's paths; config, tokenizer and provenance are written.

    Raises:
        FileNotFoundError: A manifest or the tokenizer is missing.
        ValueError: The folder is there without `resume`, or holds training with another config or
            corpus, or feature statistics cannot be kept as asked.
        OSError: The folder cannot be written.
    """
    experiment = Experiment(out)
    for name in ("train", "validation", "tokenizer"):
        if getattr(config.data, name) is None:
            raise ValueError(
                f"expected data.{name}, found nothing; set it in the config or with "
                f"--set data.{name}=PATH"
            )
    if out.exists() and not resume:
        raise ValueError(
            f"expected a new folder, found {out}; continue it with --resume or give another --out"
        )
    tokenizer = Tokenizer.load(Path(str(config.data.tokenizer)))
    record = _provenance(config, init, init_statistics)
    if experiment.provenance.is_file():
        if _has_trained(experiment):
            _check_same_run(experiment, config, record)
            if finished_step(experiment, config.training) is None:
                _check_can_go_on(experiment)
                save_config(config, experiment.config)
            return experiment
        record["init"] = record["init"] or read_provenance(experiment)["init"]
    first = record["init"]
    if first is not None and isinstance(config, ExperimentConfig):
        first["statistics"] = choose_statistics(
            config.features, Path(first["experiment"]), asked=first["asked_statistics"]
        )
    if resume:
        logger.info("nothing to resume in %s: training begins", out)
    try:
        experiment.checkpoints.mkdir(parents=True, exist_ok=True)
        experiment.normalisation.unlink(missing_ok=True)
        save_config(config, experiment.config)
        tokenizer.save(experiment.tokenizer)
    except OSError as error:
        raise OSError(
            f"expected to write {out}, found: {error.strerror}; give a folder that can be written"
        ) from None
    # Last, as its presence says that the others are whole.
    write_provenance(experiment, record)
    return experiment


def read_provenance(experiment: Experiment) -> dict[str, Any]:
    """The record of how the experiment came about.

    Version 0.1.0 counted the starts and described the first alone: the others are empty then. It
    named the experiment of the first weights alone.
    """
    record: dict[str, Any] = json.loads(experiment.provenance.read_text(encoding="utf-8"))
    if isinstance(record["starts"], int):
        first = {name: record.pop(name) for name in _OF_A_START if name in record}
        record["starts"] = [first, *({} for _ in range(record["starts"] - 1))]
    if isinstance(record["init"], str):
        # Statistics were always estimated before they could be kept.
        taken = "estimate" if experiment.normalisation.is_file() else None
        record["init"] = _init_record(record["init"], None) | {"statistics": taken}
    return record


def write_provenance(experiment: Experiment, record: dict[str, Any]) -> None:
    """Replace the record."""
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_atomically(experiment.provenance, lambda stream: stream.write(text.encode()))


def _has_trained(experiment: Experiment) -> bool:
    """Whether there is anything to resume; a run that failed before may begin otherwise."""
    return latest_checkpoint(experiment.checkpoints) is not None or experiment.weights.is_file()


def _check_same_run(
    experiment: Experiment, config: AnyExperimentConfig, record: dict[str, Any]
) -> None:
    stored = load_config_as(type(config), experiment.config)
    before, now = (_flat(value) for value in (stored, config))
    free = _FREE if config.training.schedule == "cosine" else _FREE | _FREE_WITHOUT_COSINE
    changed = sorted(
        key
        for key in before.keys() | now.keys()
        if key not in free and before.get(key) != now.get(key)
    )
    if changed:
        shown = ", ".join(f"{key} ({before.get(key)} -> {now.get(key)})" for key in changed)
        raise ValueError(
            f"expected the config of {experiment.root}, found other values of {shown}; resume with "
            f"the stored ones or start anew (a resumed run may change {', '.join(sorted(free))})"
        )
    former = read_provenance(experiment)
    _check_same_init(experiment, former["init"], record["init"])
    if former["corpus_sha256"] != record["corpus_sha256"]:
        raise ValueError(
            f"expected the data that {experiment.root} was begun with, found other content in "
            f"{_changed_files(former, record)}; give the same manifests and tokenizer or start anew"
        )


def _check_same_init(
    experiment: Experiment, former: dict[str, Any] | None, now: dict[str, Any] | None
) -> None:
    if now is None:
        return
    if former is None or former["experiment"] != now["experiment"]:
        raise ValueError(
            "expected no other first weights than "
            f"{'random ones' if former is None else former['experiment']} for {experiment.root}, "
            f"which has begun, found {now['experiment']}; leave --init out or start anew"
        )
    if now["asked_statistics"] not in (None, former["statistics"]):
        raise ValueError(
            f"expected --init-statistics {former['statistics']} for {experiment.root}, which has "
            f"begun, found {now['asked_statistics']}; leave the option out or start anew"
        )


def _check_can_go_on(experiment: Experiment) -> None:
    if latest_checkpoint(experiment.checkpoints) is None:
        raise ValueError(
            f"expected a checkpoint in {experiment.checkpoints} to go on from, found weights "
            f"alone; begin with them in another folder by --init {experiment.root}"
        )


def finished_step(experiment: Experiment, config: TrainingConfig) -> int | None:
    """Steps of a finished experiment of which weights and metrics are left, but no checkpoint.

    Args:
        experiment: The folder.
        config: The section that says where training ends.

    Returns:
        The steps done; None where training has not reached its end, or a checkpoint says more.
    """
    if latest_checkpoint(experiment.checkpoints) is not None:
        return None
    if not (experiment.weights.is_file() and experiment.metrics.is_file()):
        return None
    with experiment.metrics.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    # The row of a validation is the last of its epoch.
    if not rows or not rows[-1].get("validation_loss"):
        return None
    step, epoch = int(rows[-1]["step"]), int(rows[-1]["epoch"])
    by_epochs = 0 < config.epochs <= epoch
    by_steps = 0 < config.max_steps <= step
    return step if by_epochs or by_steps else None


def _changed_files(former: dict[str, Any], record: dict[str, Any]) -> str:
    digests = record["corpus_sha256"]
    return ", ".join(
        f"data.{name}" for name in digests if former["corpus_sha256"].get(name) != digests[name]
    )


def _flat(config: AnyExperimentConfig) -> dict[str, object]:
    flat: dict[str, object] = {}

    def walk(table: dict[str, Any], prefix: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

    walk(TypeAdapter(type(config)).dump_python(config, mode="json", exclude_none=True), "")
    return flat


def _provenance(
    config: AnyExperimentConfig, init: Path | None, init_statistics: InitStatistics | None
) -> dict[str, Any]:
    tokenizer = Path(str(config.data.tokenizer))
    files = {
        "train": Path(str(config.data.train)),
        "validation": Path(str(config.data.validation)),
        "tokenizer": tokenizer / TOKENIZER_FILE if tokenizer.is_dir() else tokenizer,
    }
    for name, path in files.items():
        if not path.is_file():
            raise FileNotFoundError(
                f"expected data.{name} at {path}, found no file; make it with `asr prepare` or "
                "`asr tokenize`"
            )
    return {
        "corpus_sha256": {
            name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
        },
        "seed": config.training.seed,
        "init": None if init is None else _init_record(str(init.absolute()), init_statistics),
        "hours": 0.0,
        "starts": [],
    }


def _init_record(experiment: str, asked_statistics: InitStatistics | None) -> dict[str, Any]:
    """Where first weights come from, and which feature statistics were asked for and taken."""
    return {
        "experiment": experiment,
        "asked_statistics": asked_statistics,
        "statistics": None,
    }


def start_record(*, step: int, precision: str, device: str, processes: int) -> dict[str, Any]:
    """Provenance of one start of training.

    Args:
        step: Optimizer steps done before it.
        precision: What was decided, "float32" or "bfloat16".
        device: Where the main process runs.
        processes: Processes that train together.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "command": sys.argv,
        "commit": package_commit(Path(__file__).parents[1]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES}
        | {"normaliser": NORMALISER_VERSION},
        "hardware": _hardware(),
        "precision": precision,
        "device": device,
        "processes": processes,
    }


def decided_precision(experiment: Experiment) -> str | None:
    """The precision that the experiment's last start trained in; None where none is recorded."""
    starts = read_provenance(experiment)["starts"]
    found: str | None = starts[-1].get("precision") if starts else None
    return found


def package_commit(package: Path) -> str | None:
    """The commit of the package's own source, `-dirty` where files differ.

    Args:
        package: The folder of the package.

    Returns:
        None where git does not keep the package's files, as for an installed wheel.
    """
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        return _git(package, *describe)
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _hardware() -> dict[str, object]:
    return {
        "machine": platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }
