"""What tests of streams share."""

import pytest

from tests.model.encoders.pairs import PAIRS, Pair


@pytest.fixture(params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    assert isinstance(request.param, Pair)
    return request.param
