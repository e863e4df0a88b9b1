"""One control plane for all tests of a run."""
import pytest

from control_plane import ControlPlane


@pytest.fixture(scope="session")
def cluster():
    with ControlPlane() as plane:
        yield plane
