"""Connectionist temporal classification: model, losses, decoders and forced alignment."""

from asr.ctc.consistency import ConsistencyConfig as ConsistencyConfig
from asr.ctc.consistency import consistency_losses as consistency_losses
from asr.ctc.consistency import mean_of_views as mean_of_views
from asr.ctc.consistency import more_time_masks as more_time_masks
from asr.ctc.consistency import two_views as two_views
from asr.ctc.decoder import Decoder as Decoder
from asr.ctc.forced_alignment import TooFewFramesError as TooFewFramesError
from asr.ctc.forced_alignment import align_labels as align_labels
from asr.ctc.greedy import GreedyDecoder as GreedyDecoder
from asr.ctc.greedy import greedy_decode as greedy_decode
from asr.ctc.lexicon_beam import LexiconConfig as LexiconConfig
from asr.ctc.lexicon_beam import LexiconDecoder as LexiconDecoder
from asr.ctc.loss import BLANK as BLANK
from asr.ctc.loss import ctc_losses as ctc_losses
from asr.ctc.loss import minimum_frames as minimum_frames
from asr.ctc.model import CtcHead as CtcHead
from asr.ctc.model import CtcModel as CtcModel
from asr.ctc.model import CtcOutput as CtcOutput
from asr.ctc.model import SelfConditioningHead as SelfConditioningHead
from asr.ctc.model import build_model as build_model
from asr.ctc.prefix_beam import BeamConfig as BeamConfig
from asr.ctc.prefix_beam import BeamSearch as BeamSearch
