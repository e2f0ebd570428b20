"""torchaudio's functions, imported in one place that explains a library that does not load."""

import torch

try:
    from torchaudio.compliance.kaldi import get_mel_banks
    from torchaudio.functional import forced_align, resample
    from torchaudio.transforms import Resample
# Its C++ library is built for one torch: another one lacks symbols or has another CUDA.
except (ImportError, OSError, RuntimeError) as error:
    raise OSError(
        f"expected torchaudio whose library loads beside torch {torch.__version__}, found: "
        f"{' '.join(str(error).split())}; install torch and torchaudio from the same source, "
        "either both for the CPU alone or both with CUDA"
    ) from None

__all__ = ["Resample", "forced_align", "get_mel_banks", "resample"]
