"""The node that most tests of consensus talk to."""

import pytest
from consensus_node import Node


@pytest.fixture
def node():
    return Node()
