"""What schemathesis can't know of a living household: ids by their bytes, a device that is here, a
session in bytes, codes that wait for an answer, and that an erasure should be another household's."""

import itertools
import os
import time

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

SERVER = os.environ["CONTRACT_SERVER"]
LIVE_DEVICE = os.environ["CONTRACT_DEVICE"]
PHONE = os.environ["CONTRACT_PHONE"]
SESSION = bytes.fromhex(os.environ["CONTRACT_SESSION"])
TOKEN = os.environ["CONTRACT_TOKEN"]
OTHER_TOKEN = os.environ["CONTRACT_OTHER_TOKEN"]
# Whose tokens the run may revoke, and whose key it may renew.
OTHER_HOUSEHOLD = os.environ["CONTRACT_OTHER_HOUSEHOLD"]
# Whose key is known for good.
KEY_HOUSEHOLD = os.environ["CONTRACT_KEY_HOUSEHOLD"]
# The file of tables that the server hands out.
TABLES = os.environ["CONTRACT_TABLES"]
ID_BYTES_MAX = 64
GENRE_BYTES_MAX = 32
CLIENT = "contract"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
REQUEST_S_MAX = 30

letters = st.characters(blacklist_categories=("Cs", "Cc"))


def texts(bytes_max):
    some = st.text(letters, min_size=1, max_size=bytes_max)
    return some.filter(lambda text: len(text.encode()) <= bytes_max)


schemathesis.openapi.format("omega-id", texts(ID_BYTES_MAX))
schemathesis.openapi.format("omega-genre", texts(GENRE_BYTES_MAX))

devices = itertools.count()
addresses = itertools.count(1)


def address():
    """One that nobody had before: how often one may guess is not what this is about."""
    number = next(addresses)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def ask(path, token=TOKEN, **body):
    """A good request of our own, and its JSON."""
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address()}
    answer = requests.post(SERVER + path, headers=headers, timeout=REQUEST_S_MAX, **body)
    answer.raise_for_status()
    return answer


def codes(device=None):
    form = {"client_id": CLIENT, **({"device_id": device} if device else {})}
    return ask("/oauth/device_authorization", data=form).json()


def tokens(device=None):
    """What an allowed device gets."""
    waiting = codes(device)
    ask("/api/v1/pairing", json={"user_code": waiting["user_code"], "decision": "allow"})
    return ask("/oauth/token", data=redeeming(waiting)).json()


def redeeming(waiting):
    code = waiting["device_code"]
    return {"grant_type": DEVICE_CODE, "device_code": code, "client_id": CLIENT}


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """The run's own household, which its live device is in, must not be erased."""

    def get(self, case, context):
        erases = case.operation.method.upper() == "DELETE" and case.operation.path == "/api/v1/household"
        return OTHER_TOKEN if erases else TOKEN

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


def a_session(case):
    case.body = SESSION


def every_second(work):
    """What is made up is good too, but is about nothing that is here."""
    own_turns = itertools.count()
    return lambda case: work(case) if next(own_turns) % 2 == 0 else None


def live_device(case):
    case.path_parameters["id"] = LIVE_DEVICE


def live_target(case):
    case.body["target_device_id"] = LIVE_DEVICE


live_device_or_any = every_second(live_device)
live_target_or_any = every_second(live_target)


def device_that_takes_commands(case):
    """The live device is the token's own, may be described, and goes on taking commands."""
    live_device_or_any(case)
    capabilities = case.body.get("capabilities")
    if capabilities is not None:
        capabilities |= {"remote_controllable": True, "can_cast": True}


def tables_id():
    """FNV-1a of the file, as in docs/patterns.md."""
    checksum = 0x811C9DC5
    with open(TABLES, "rb") as file:
        for byte in file.read():
            checksum = (checksum ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{checksum:08x}"


def tables_of_the_server(case):
    case.path_parameters["id"] = tables_id()


def device_to_command(case):
    # The fuzzer has read the id of the phone, which takes no commands.
    if case.path_parameters["id"] == PHONE:
        case.path_parameters["id"] = LIVE_DEVICE
    live_device_or_any(case)


def target_of_handoff(case):
    if case.body["target_device_id"] == PHONE:
        case.body["target_device_id"] = LIVE_DEVICE
    live_target_or_any(case)


def device_to_forget(case):
    # Never the live one, whose id the fuzzer has read by now.
    device = f"spare-{next(devices)}"
    token = tokens(device)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address()}
    # Nobody takes it, but the household has seen the device.
    url = f"{SERVER}/api/v1/devices/nobody/commands"
    requests.post(url, headers=headers, json={"type": "stop"}, timeout=REQUEST_S_MAX)
    case.path_parameters["id"] = device


def other_tokens(case):
    if case.body.get("household") is not None:
        case.body["household"] = OTHER_HOUSEHOLD
    if case.body.get("not_before") is not None:
        case.body["not_before"] = min(case.body["not_before"], int(time.time()))


def one_revocation(case):
    """A name of what is revoked, and a device only with its household."""
    query = case.query or {}
    names = [name for name in ("token_id", "owner", "household") if name in query]
    for name in names[1:]:
        del query[name]
    if not names and case.operation.method.upper() == "DELETE":
        query["household"] = OTHER_HOUSEHOLD
    if "household" not in query:
        query.pop("device_id", None)
    case.query = query


def other_key(case):
    case.body["household"] = OTHER_HOUSEHOLD


def unit_vectors(case):
    """JSON Schema can't say that a vector has the norm 1."""
    for at, title in enumerate(case.body["titles"]):
        title["embedding"] = [1.0 if place == at % 384 else 0.0 for place in range(384)]


def waiting_code(case):
    case.body["user_code"] = codes()["user_code"]


def allowed_code_or_refresh(case):
    if case.body["grant_type"] == "refresh_token":
        # No fewer words than it had: what is made up may want more.
        token = tokens()["refresh_token"]
        case.body = {"grant_type": "refresh_token", "refresh_token": token}
        return
    waiting = codes()
    ask("/api/v1/pairing", json={"user_code": waiting["user_code"], "decision": "allow"})
    case.body = redeeming(waiting)


def typed_code(case):
    key = ask("/api/v1/admin/pairing-keys", json={"household": KEY_HOUSEHOLD}).json()["key"]
    case.body = {"user_code": codes()["user_code"], "household": KEY_HOUSEHOLD, "key": key}


PREPARED = {
    "POST /api/v1/sync": a_session,
    "POST /api/v1/devices/{id}/commands": device_to_command,
    "PATCH /api/v1/devices/{id}": device_that_takes_commands,
    "DELETE /api/v1/devices/{id}": device_to_forget,
    "GET /api/v1/taste/tables/{id}": every_second(tables_of_the_server),
    "POST /api/v1/devices/handoff": target_of_handoff,
    "POST /api/v1/admin/revocations": other_tokens,
    "GET /api/v1/admin/revocations": one_revocation,
    "DELETE /api/v1/admin/revocations": one_revocation,
    "POST /api/v1/admin/pairing-keys": other_key,
    "POST /api/v1/content": unit_vectors,
    "POST /api/v1/pairing": every_second(waiting_code),
    "POST /oauth/token": allowed_code_or_refresh,
    "POST /pair": every_second(typed_code),
}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Prepares what a valid request is about."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    case.headers["X-Forwarded-For"] = address()
    prepare = PREPARED.get(f"{case.operation.method.upper()} {case.operation.path}")
    if prepare:
        prepare(case)
