"""Training of neural language models."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import tomli_w
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from asr.config import LanguageModelExperimentConfig
from asr.data.text_corpus import TextCorpus, read_text_corpus
from asr.data.token_stream import (
    SegmentLoader,
    TextDataConfig,
    TokenBatch,
    join_sentences,
    segment_batch,
)
from asr.files import LM_DESCRIPTION_FILE, Experiment, write_atomically
from asr.model.language_model import LanguageModel
from asr.tokens.tokenizer import Tokenizer
from asr.training.engine import largest_over_processes, sum_over_processes
from asr.training.learner import Learner
from asr.training.objective import Objective, StepOutput, total_loss
from asr.training.run import Parts, TrainingOutcome, run_training
from asr.training.seeding import seed_weights


class LanguageModelStep(nn.Module):
    """The model and its loss in one forward.

    Args:
        model: The model that is trained.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> StepOutput:
        """Compute losses of segments (segment, time) int64.

        Returns:
            `nats` of each segment; `auxiliary`, the sum of the attention's own losses.
        """
        lengths = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
        output = self.model(inputs, lengths)
        nats = -output.log_probs.gather(2, targets.unsqueeze(2)).squeeze(2).sum(dim=1)
        return StepOutput(nats=nats, auxiliary=total_loss(output.losses, like=nats))


class LanguageModelObjective(Objective):
    """Cross-entropy of the next label in segments of text."""

    speed = "tokens_per_second"
    batch_setting = "data.batch_tokens"

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model, LanguageModelStep(model))

    def inputs(self, batch: TokenBatch, *, augment: bool) -> tuple[Tensor, ...]:
        """Labels and the labels after them."""
        return batch.inputs, batch.targets

    def amount(self, batch: TokenBatch) -> Tensor:
        """Tokens."""
        return batch.label_count


class LanguageModelValidator:
    """Cross-entropy of the validation text, in segments that know nothing of those before.

    Args:
        corpus: The text.
        config: Sizes of segments and batches.
        fabric: Adds up what the processes counted.

    Raises:
        ValueError: The text has fewer batches than there are processes.
    """

    def __init__(self, corpus: TextCorpus, config: TextDataConfig, *, fabric: Fabric) -> None:
        stream, length = join_sentences(corpus.sentences), config.segment_tokens
        starts = np.arange(0, len(stream) - length, length)
        size = config.batch_tokens // length
        batches = [
            segment_batch(stream, starts[first : first + size], length)
            for first in range(0, len(starts), size)
        ]
        if len(batches) < fabric.world_size:
            raise ValueError(
                f"expected validation text for a batch on each of {fabric.world_size} processes, "
                f"found {len(batches)} of {length} x {size} tokens; give more text or lower "
                "data.segment_tokens or data.batch_tokens"
            )
        self._batches = batches[fabric.global_rank :: fabric.world_size]
        self._fabric = fabric
        # The end of a sentence counts as a word.
        words = corpus.words + len(corpus.sentences)
        self._tokens_per_word = (len(stream) - 1) / words

    def run(self, learner: Learner, *, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Validate; see Validator.

        Returns:
            Nats a token (`loss`) and perplexity a word (`word_perplexity`).
        """
        sums = torch.zeros(2, dtype=torch.float64)
        passes = largest_over_processes(self._fabric, len(self._batches))
        for batch in self._batches:
            if stop():
                return None
            output = learner.evaluate(batch)
            sums += torch.stack([output.nats.double().sum().cpu(), batch.label_count.double()])
        # Shared weights are gathered by all processes together: none may make fewer passes.
        for _ in range(passes - len(self._batches)):
            learner.evaluate(batch)
        nats, tokens = sum_over_processes(self._fabric, sums).tolist()
        loss = nats / tokens
        return {"loss": loss, "word_perplexity": float(np.exp(loss * self._tokens_per_word))}


def train_language_model(
    config: LanguageModelExperimentConfig, out: Path, *, resume: bool = False
) -> TrainingOutcome:
    """Train a language model, or go on with it.

    Args:
        config: The resolved config.
        out: The experiment folder; it must not exist unless `resume`.
        resume: Go on from the newest checkpoint in `out`, or begin where there is none.

    Returns:
        How it ended.

    Raises:
        FileNotFoundError: A text or the tokenizer is missing.
        ValueError: Folder or data do not fit the config, or a loss is not finite.
        OSError: Something could not be written.
    """
    return run_training(config, out, resume=resume, init=None, build=partial(_parts, config))


def _parts(
    config: LanguageModelExperimentConfig, fabric: Fabric, experiment: Experiment, _begins: bool
) -> Parts:
    tokenizer = Tokenizer.load(experiment.tokenizer)
    if fabric.is_global_zero:
        description = tomli_w.dumps({"type": "transformer", "tokenizer_sha256": tokenizer.digest})
        path = experiment.root / LM_DESCRIPTION_FILE
        write_atomically(path, lambda stream: stream.write(description.encode()))
    seed_weights(config.training.seed)
    model = LanguageModel(config.model, vocab_size=tokenizer.vocab_size)
    loader = SegmentLoader(
        join_sentences(_read(config.data.train, tokenizer).sentences),
        config.data,
        seed=config.training.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    return Parts(
        learner=Learner(
            config.training,
            LanguageModelObjective(model),
            fabric=fabric,
            checkpoints=experiment.checkpoints,
        ),
        loader=loader,
        validator=LanguageModelValidator(
            _read(config.data.validation, tokenizer), config.data, fabric=fabric
        ),
        largest_batch=lambda: next(iter(loader)),
    )


def _read(path: Path | None, tokenizer: Tokenizer) -> TextCorpus:
    assert path is not None  # opening the experiment has seen to it
    return read_text_corpus([path], tokenizer)
