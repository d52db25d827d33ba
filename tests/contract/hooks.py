"""What schemathesis can't know of a living household: ids by their bytes, a device that is here, a
session in bytes, and that an erasure should be another household's."""

import itertools
import os

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

LIVE_DEVICE = os.environ["CONTRACT_DEVICE"]
SESSION = bytes.fromhex(os.environ["CONTRACT_SESSION"])
OTHER_TOKEN = os.environ["CONTRACT_OTHER_TOKEN"]
ID_BYTES_MAX = 64

letters = st.characters(blacklist_categories=("Cs", "Cc"))
texts = st.text(letters, min_size=1, max_size=ID_BYTES_MAX)
schemathesis.openapi.format(
    "omega-id", texts.filter(lambda text: len(text.encode()) <= ID_BYTES_MAX)
)

turns = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Every second valid request about a device is about one that is here."""
    operation = f"{case.operation.method.upper()} {case.operation.path}"
    valid = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if not valid:
        return
    if operation == "DELETE /api/v1/household":
        # The run's own household, which its live device is in, must stay.
        case.headers["Authorization"] = f"Bearer {OTHER_TOKEN}"
    if operation == "POST /api/v1/sync":
        case.body = SESSION
    if operation == "POST /api/v1/devices/{id}/commands" and next(turns) % 2 == 0:
        case.path_parameters["id"] = LIVE_DEVICE
    if operation == "POST /api/v1/devices/handoff" and next(turns) % 2 == 0:
        case.body["target_device_id"] = LIVE_DEVICE
