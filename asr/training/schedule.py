"""Learning rate over the optimizer steps."""

import logging
import math

from asr.training.config import TrainingConfig

logger = logging.getLogger(__name__)


def total_steps(config: TrainingConfig, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole training; logs where the warm-up does not end within them."""
    by_epochs = config.epochs * steps_per_epoch
    last_step = min(steps for steps in (by_epochs, config.max_steps) if steps > 0)
    if last_step < config.warmup_steps:
        logger.warning(
            "training ends at step %d, before its warm-up of %d steps: the learning rate stays "
            "below its peak; lower training.warmup_steps or train longer",
            last_step,
            config.warmup_steps,
        )
    return last_step


def learning_rate_factor(config: TrainingConfig, step: int, last_step: int) -> float:
    """Fraction of the peak learning rate for one optimizer step.

    Args:
        config: The training section.
        step: Number of the step, from 1.
        last_step: Number of the last step.

    Returns:
        A factor in 0 .. 1: `step / warmup_steps` at first, 1 at `warmup_steps`.

    Source: Vaswani et al. 2017, equation 3, with a peak set by hand; Loshchilov and Hutter
        2017, equation 5.
    """
    if step < config.warmup_steps:
        return step / config.warmup_steps
    if config.schedule == "noam":
        return math.sqrt(config.warmup_steps / step)
    decay_steps = max(last_step - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / decay_steps, 1.0)
    return config.final_fraction + (1 - config.final_fraction) * 0.5 * (
        1 + math.cos(math.pi * done)
    )
