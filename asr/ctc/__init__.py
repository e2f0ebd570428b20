"""Connectionist temporal classification: model, loss, decoders and forced alignment."""

from asr.ctc.loss import BLANK as BLANK
from asr.ctc.loss import ctc_losses as ctc_losses
from asr.ctc.loss import minimum_frames as minimum_frames
from asr.ctc.model import CtcHead as CtcHead
from asr.ctc.model import CtcModel as CtcModel
from asr.ctc.model import CtcOutput as CtcOutput
from asr.ctc.model import SelfConditioningHead as SelfConditioningHead
from asr.ctc.model import build_model as build_model
