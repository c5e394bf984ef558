"""What the Python drivers share: the loop that reads requests and answers them, and bytes as base64."""
import base64
import json
import sys
import traceback


class Unsupported(Exception):
    """This client has no such function."""


class Failure(Exception):
    """An error with the protocol's code, for clients that do not raise one."""

    def __init__(self, code, name, message=""):
        super().__init__(message)
        self.code, self.name = code, name


def unb64(text):
    return None if text is None else base64.b64decode(text)


def b64(data):
    return None if data is None else base64.b64encode(bytes(data)).decode()


def told(offset, timestamp, key, value, headers):
    """A record as the harness compares it."""
    return {"offset": offset, "timestamp": timestamp, "key": b64(key), "value": b64(value),
            "headers": [[name, b64(data)] for name, data in headers or []]}


def describe(error):
    code = next((getattr(error, name) for name in ("code", "errno") if hasattr(error, name)), None)
    if callable(code):
        code = code()
    name = getattr(error, "name", None) or type(error).__name__
    return {"code": code if isinstance(code, int) else None, "name": name() if callable(name) else name,
            "message": str(error)}


def serve(handlers, run=lambda answer: answer, error_of=describe):
    """Answers requests until standard input ends. `handlers` maps verbs to functions of the request's arguments."""
    for line in sys.stdin:
        request = json.loads(line)
        verb = request.pop("verb")
        try:
            if verb not in handlers:
                raise Unsupported(f"the client has no {verb.replace('_', ' ')}")
            answer = {"ok": run(handlers[verb](**request))}
        except Unsupported as reason:
            answer = {"unsupported": str(reason)}
        except Exception as error:  # whatever a client raises is an answer
            traceback.print_exc(limit=-2)
            answer = {"error": error_of(error)}
        print(json.dumps(answer), flush=True)
