"""The `[training]` section."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from asr.ctc import ConsistencyConfig
from asr.schema import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """How weights are found from losses."""

    seed: int = Field(default=1, ge=0)
    """Seed of everything random: first weights, order, augmentation, dropout."""

    epochs: int = Field(ge=0)
    """Passes over the training data; 0 leaves the end to `max_steps`."""
    max_steps: int = Field(default=0, ge=0)
    """Optimizer steps after which training ends; 0 leaves the end to `epochs`."""
    accumulate: int = Field(default=1, ge=1)
    """Batches (of each device) whose gradients are averaged for one optimizer step."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for the matrices inside the blocks and AdamW for the rest."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate, reached after `warmup_steps`."""
    weight_decay: float = Field(ge=0)
    """Decoupled weight decay of matrices, multiplied by the learning rate at each step."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's decay of the first and second moment, each in 0 .. 1 (the Conformer paper's)."""
    epsilon: float = Field(default=1e-9, gt=0)
    """AdamW's term beside the root of the second moment (the Conformer paper's)."""
    gradient_clip_norm: float = Field(ge=0)
    """Largest 2-norm of all gradients together; 0 clips nothing."""

    schedule: Literal["noam", "cosine"]
    """Decay after linear warm-up: inverse root of the step, or half a cosine to the last step."""
    warmup_steps: int = Field(ge=1)
    """Optimizer steps of linear warm-up."""
    final_fraction: float = Field(default=0.0, ge=0, le=1)
    """Where the cosine ends, as a fraction of `learning_rate`."""

    averaging: Literal["none", "ema", "checkpoints"]
    """Weights that are validated and kept: the last, a moving average, or a mean of epoch ends."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay a step of `averaging = "ema"`; lower at first, so that early weights fade."""
    averaged_epochs: int = Field(default=0, ge=0)
    """Epoch ends that `averaging = "checkpoints"` takes the mean of."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `auto` takes CUDA where there is any."""
    devices: int = Field(default=1, ge=1)
    """Devices (on the CPU: processes) on each node."""
    nodes: int = Field(default=1, ge=1)
    """Machines, started by torchrun or SLURM."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """With several devices: each holds all weights, or a share of them."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Arithmetic of the model's large products; weights, loss and optimizer are float32. `auto`
    takes bfloat16 where the processor or GPU is faster with it."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of each process; 0 takes torch's default."""
    memory_probe: bool = True
    """Run the largest batch once before training."""

    validate_every_epochs: int = Field(default=1, ge=1)
    """Epochs between validations; the last epoch is always validated."""
    checkpoint_every_seconds: float = Field(default=600.0, ge=0)
    """Seconds between checkpoints inside an epoch; 0 leaves those of `checkpoint_every_steps`."""
    checkpoint_every_steps: int = Field(default=0, ge=0)
    """Optimizer steps between checkpoints inside an epoch; 0 leaves only those by time."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints that stay; each holds weights, average and optimizer."""
    log_every_steps: int = Field(default=50, ge=1)
    """Optimizer steps between rows of `metrics.csv`."""

    def __post_init__(self) -> None:
        if self.epochs == 0 and self.max_steps == 0:
            raise ValueError("expected epochs or max_steps to be positive, found both 0; set one")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"expected betas in 0 <= beta < 1, found {self.betas}")
        if (self.averaging == "ema") != (self.ema_decay > 0):
            raise ValueError(
                f"expected ema_decay > 0 with averaging = 'ema' alone, found averaging = "
                f"{self.averaging!r} and ema_decay = {self.ema_decay}; set both or neither"
            )
        if (self.averaging == "checkpoints") != (self.averaged_epochs > 0):
            raise ValueError(
                f"expected averaged_epochs > 0 with averaging = 'checkpoints' alone, found "
                f"averaging = {self.averaging!r} and averaged_epochs = {self.averaged_epochs}; "
                "set both or neither"
            )
        if self.optimizer == "muon" and self.strategy == "fsdp":
            raise ValueError(
                "expected strategy = 'ddp' with optimizer = 'muon', which needs whole matrices, "
                "found 'fsdp'; change one"
            )
        if self.schedule == "noam" and self.final_fraction != 0:
            raise ValueError(
                f"expected final_fraction with schedule = 'cosine' alone, found "
                f"{self.final_fraction} with 'noam'; remove it"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StreamingTrainingConfig:
    """Section `[training.streaming]`: attention in chunks that are drawn anew for each batch.

    Chunk and left context are drawn apart from each other, each value with equal chance. Validation
    also decodes with the smallest chunk and the least left context.
    """

    offline_probability: float = Field(ge=0, lt=1)
    """Share of the batches in which every frame attends to all."""
    chunk_frames: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """Lengths of chunks, in encoder frames."""
    left_frames: tuple[Annotated[int, Field(ge=0)] | Literal["all"], ...] = Field(min_length=1)
    """What frames may attend to before their chunk, in encoder frames, or "all"."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CtcTrainingConfig(TrainingConfig):
    """The `[training]` section of a recogniser."""

    streaming: StreamingTrainingConfig | None = None
    """Chunks in training; None trains offline alone."""
    consistency: ConsistencyConfig | None = None
    """Consistency of two masked views; None trains on one."""
