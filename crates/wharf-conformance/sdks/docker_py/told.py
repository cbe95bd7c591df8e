"""What a program tells of a daemon: one line for each step, with what is the moment's or the machine's made the same."""
import functools
import inspect
import re
import sys

import docker

REPLACED = [
    (re.compile(r"\b(sha256:)?[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b(sha256:)?[0-9a-f]{12}\b"), "<id12>"),
    (re.compile(r"\b(sha256:)?(?=[0-9]{0,9}[a-f])[0-9a-f]{10}\b"), "<id10>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b02:42(:[0-9a-f]{2}){4}\b"), "<mac>"),
    (re.compile(r"unix://[^ ]*?engine\.sock|http\+docker://[^/]*"), "<daemon>"),
    (re.compile(r"/\S+?/data/"), "<root>/data/"),
    (re.compile(r"127\.0\.0\.1:\d{4,5}"), "<registry>"),
]
called = set()


def plain(value):
    text = value if isinstance(value, str) else repr(value)
    for pattern, by in REPLACED:
        text = pattern.sub(by, text)
    # The name of a runtime is not the same on all.
    return text.replace("runc create failed: ", "")


def shape(value):
    """The keys and types of a document; of a list the first of its elements."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def refused(function):
    """Whether it is refused, where daemons of different years have other words for it."""
    try:
        return function()
    except docker.errors.DockerException as error:
        return "refused", isinstance(error, docker.errors.NotFound)


def step(name):
    """Runs the function at once and prints what it returns or raises."""

    def told(function):
        try:
            print(f"{name}: {plain(function())}")
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {plain(str(error))}")
        sys.stdout.flush()
        return function

    return told


def watch(kind):
    """Notes which methods of a class are called, so that one that no step calls is seen."""
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if name.startswith("_") or name not in own_names(kind):
            continue

        def noted(method=method, label=f"{kind.__name__}.{name}"):
            @functools.wraps(method)
            def call(*args, **more):
                called.add(label)
                return method(*args, **more)

            return call

        setattr(kind, name, noted())


def own_names(kind):
    """Names that the package's classes give a class, not those of the libraries below them."""
    own = [one for one in kind.__mro__ if one.__module__.startswith("docker.")]
    return {name for one in own for name in vars(one)}


def never_called(kind):
    names = (name for name, _ in inspect.getmembers(kind, inspect.isfunction))
    own = own_names(kind)
    return sorted(f"{kind.__name__}.{n}" for n in names if n in own and not n.startswith("_") and f"{kind.__name__}.{n}" not in called)
