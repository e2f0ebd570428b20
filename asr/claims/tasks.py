"""Tasks on frames that are made on the spot: each needs what one claim is about."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

CLASSES = 8
IGNORED = -100


class Frames(NamedTuple):
    """Inputs (batch, time, feature) and the class of each frame (batch, time); IGNORED is none."""

    inputs: Tensor
    labels: Tensor


def noisy_segments(batch: int, time: int, generator: Generator) -> Frames:
    """Runs of 4 to 10 frames of one class, one-hot, in unit Gaussian noise.

    The class of a frame is told by its neighbours; frames far away say nothing.
    """
    runs = time // 4 + 1
    durations = torch.randint(4, 11, (batch, runs), generator=generator)
    ends = durations.cumsum(dim=1)
    run = (torch.arange(time).view(1, -1, 1) >= ends.unsqueeze(1)).sum(dim=2)
    # (batch, time)
    classes = torch.randint(CLASSES, (batch, runs + 1), generator=generator)
    labels = classes.gather(1, run)
    clean = torch.nn.functional.one_hot(labels, CLASSES).float()
    return Frames(clean + torch.randn(clean.shape, generator=generator), labels)


def sums(batch: int, time: int, generator: Generator) -> Frames:
    """Two classes in one frame, lightly noisy; the label is their sum modulo CLASSES.

    Each frame needs a function of itself that is not linear: a feed-forward module's work.
    """
    terms = torch.randint(CLASSES, (2, batch, time), generator=generator)
    clean = torch.nn.functional.one_hot(terms, CLASSES).float()
    # (2, batch, time, class)
    inputs = torch.cat(list(clean), dim=2)
    inputs = inputs + 0.2 * torch.randn(inputs.shape, generator=generator)
    return Frames(inputs, terms.sum(dim=0) % CLASSES)


def cue(batch: int, time: int, generator: Generator, *, distance: int) -> Frames:
    """A class in the first frame that must be named `distance` frames later; the rest is noise.

    The last feature marks the frame with the question.
    """
    answer = torch.randint(CLASSES, (batch,), generator=generator)
    inputs = 0.3 * torch.randn(batch, time, CLASSES + 1, generator=generator)
    inputs[:, :, CLASSES] = 0
    inputs[:, 0, :CLASSES] += 3 * torch.nn.functional.one_hot(answer, CLASSES)
    inputs[:, distance, CLASSES] = 3
    labels = torch.full((batch, time), IGNORED)
    labels[:, distance] = answer
    return Frames(inputs, labels)


def motifs(batch: int, time: int, generator: Generator) -> Frames:
    """Shapes of three frames, each followed by a value; one shape comes again and asks for its own.

    All shapes of a sequence end in the same frame, so that only the whole shape tells them apart.
    Features: four for shapes, CLASSES for values. `time` is a multiple of four.
    """
    shapes = time // 4 - 1
    pattern = torch.randn(batch, shapes, 3, 4, generator=generator).sign()
    pattern[:, :, 2] = pattern[:, :1, 2]
    # The first two frames of each shape are its number's sign pattern, so that no two are alike.
    number = torch.stack([torch.randperm(256, generator=generator)[:shapes] for _ in range(batch)])
    bits = (number.unsqueeze(2) >> torch.arange(8)) % 2
    pattern[:, :, :2] = bits.float().mul(2).sub(1).view(batch, shapes, 2, 4)
    values = torch.randint(CLASSES, (batch, shapes), generator=generator)
    inputs = torch.zeros(batch, time, 4 + CLASSES)
    blocks = inputs.view(batch, -1, 4, 4 + CLASSES)
    blocks[:, :shapes, :3, :4] = pattern
    blocks[:, :shapes, 3, 4:] = torch.nn.functional.one_hot(values, CLASSES).float()
    asked = torch.randint(shapes, (batch,), generator=generator)
    blocks[:, shapes, :3, :4] = pattern[torch.arange(batch), asked]
    labels = torch.full((batch, time), IGNORED)
    labels[:, time - 1] = values[torch.arange(batch), asked]
    return Frames(inputs, labels)


def chirps(batch: int, time: int, generator: Generator) -> Frames:
    """Tokens whose frames rise or fall through the features over 4 to 8 frames, in noise.

    Half of the classes are the other half backwards, so that only order in time tells them apart.
    """
    runs = time // 4 + 1
    durations = torch.randint(4, 9, (batch, runs), generator=generator)
    tokens = torch.randint(CLASSES, (batch, runs), generator=generator)
    ends = durations.cumsum(dim=1)
    frame = torch.arange(time).expand(batch, -1)
    run = (frame.unsqueeze(2) >= ends.unsqueeze(1)).sum(dim=2)
    # (batch, time)
    labels, duration = tokens.gather(1, run), durations.gather(1, run)
    step = frame - ends.gather(1, run) + duration
    rise = step * 6 // duration
    ramp = torch.where(labels % 2 == 0, rise, 5 - rise)
    place = (labels // 2 * 2 + ramp) % 16
    inputs = 0.7 * torch.randn(batch, time, 16, generator=generator)
    inputs.scatter_add_(2, place.unsqueeze(2), torch.full((batch, time, 1), 2.0))
    return Frames(inputs, labels)
