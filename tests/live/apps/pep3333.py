"""WSGI apps of every shape that PEP 3333 allows, by path."""

from __future__ import annotations

import json
import time

closed: list[str] = []


class Whole:
    """What Flask and Django answer: an iterable of one piece, with its length announced."""

    def __init__(self, piece):
        self.piece = piece

    def __iter__(self):
        yield self.piece

    def close(self):
        closed.append("whole")


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def lazy(environ, start_response):
    start_response("203 Named Late", [("x-shape", "lazy")])
    yield b"first "
    yield b"second"


def written(environ, start_response):
    write = start_response("200 OK", [("x-shape", "written")])
    write(b"written ")
    return [b"and ", b"returned"]


def written_then_streamed(environ, start_response):
    write = start_response("200 OK", [])
    write(b"written ")
    return iter((b"and ", b"streamed"))


def replaced(environ, start_response):
    start_response("200 OK", [("x-shape", "first")])
    try:
        int("late")
    except ValueError as error:
        start_response("418 Replaced", [("x-shape", "second")], (type(error), error, error.__traceback__))
    return [b"replaced"]


def twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"never"]


def silent(environ, start_response):
    return [b"never"]


def raises_at_first(environ, start_response):
    start_response("200 OK", [])
    if environ:
        raise RuntimeError("before the first piece")
    yield b""


def raises_later(environ, start_response):
    start_response("200 OK", [("content-length", "20")])
    yield b"x" * 10
    raise RuntimeError("after the first piece")


def whole(environ, start_response):
    start_response("200 OK", [("content-length", "5")])
    return Whole(b"whole")


def empty(environ, start_response):
    start_response("204 No Content", [])
    return iter(())


def paused(environ, start_response):
    start_response("200 OK", [])
    yield b"at once"
    time.sleep(3)
    yield b"later"


def lines(environ, start_response):
    body = [line.decode() for line in environ["wsgi.input"]]
    start_response("200 OK", [])
    return [json.dumps(body).encode()]


def told(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps({"environ": sorted(environ), "closed": closed}).encode()]
