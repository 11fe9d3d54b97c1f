"""The error tree of thor-geo.

Every message names the argument, its value and the remedy. Errors about settings are also
`ValueError`, so that code that knows nothing of thor-geo catches them as usual.
"""

from __future__ import annotations

from collections.abc import Iterator

# Longest texts that a message quotes, characters: some libraries' messages repeat whole files.
_LONGEST_VALUE, _LONGEST_PROBLEM = 400, 1500


def shorten(text: str, longest: int) -> str:
    """Return a text of at most *longest* characters; ``...`` replaces its middle if needed."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


class ThorGeoError(Exception):
    """Base of every error that thor-geo raises on purpose.

    Attributes:
        retryable: Whether the same command may succeed when it is simply run again. It then exits
            with 75 instead of 2, so that schedulers can tell.
    """

    retryable = False


class ConfigError(ThorGeoError, ValueError):
    """A setting is invalid: raised in constructors, before any work starts."""

    def __init__(self, argument: str, value: object, problem: str, remedy: str) -> None:
        """Initialize a new ConfigError instance.

        Args:
            argument: Name of the argument or config key.
            value: The offending value; None of a command's option if it was not given.
            problem: What is wrong with it, with the numbers.
            remedy: What to do instead.
        """
        self.argument = argument
        self.value = value
        self.problem = problem
        self.remedy = remedy
        absent = value is None and argument.startswith("--")
        shown = "" if absent else f"={shorten(repr(value), _LONGEST_VALUE)}"
        super().__init__(f"`{argument}{shown}`: {shorten(problem, _LONGEST_PROBLEM)}. {remedy}")

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, object, str, str]]:
        """Pickle with the four arguments (the default would pass the message alone)."""
        return type(self), (self.argument, self.value, self.problem, self.remedy)


class BandError(ConfigError):
    """A band is unknown, unsupported or repeated."""


class LayoutError(ConfigError):
    """Patch size, ground cover and GSDs do not fit together."""


class AreaError(ConfigError):
    """An area is empty, invalid, or outside what UTM tiles can cover."""


class InputError(ThorGeoError, ValueError):
    """Pixels handed to the model have the wrong shape, dtype or content."""


class CheckpointError(ThorGeoError, RuntimeError):
    """Weights are missing, unreadable, or do not match the model."""


class DependencyError(ThorGeoError, ImportError):
    """An optional package is not installed."""


class EarthEngineError(ThorGeoError, RuntimeError):
    """Earth Engine refused a request, and repeating it would not help."""


class AuthenticationError(EarthEngineError):
    """There are no usable Earth Engine credentials."""


class ProjectError(EarthEngineError):
    """The cloud project is missing, not registered, or may not be used."""


class UnreachableError(EarthEngineError):
    """Earth Engine did not answer at sign-in, after many attempts."""

    retryable = True


class StacError(ThorGeoError, RuntimeError):
    """A STAC catalogue refused a request, or its items are unsuitable."""


class StacUnreachableError(StacError):
    """A STAC catalogue did not answer, after many attempts."""

    retryable = True


class BlockError(ThorGeoError, RuntimeError):
    """A composite block could not be produced; the tiles cut from it fail, the run goes on."""

    retryable = True


class SceneError(BlockError, StacError):
    """A scene cannot be used: its metadata or one of its files are not as they should be.

    Blocks whose scenes are not pinned yet are made without it; the run goes on.
    """

    retryable = False

    def __init__(self, scene: object, why: str, remedy: str) -> None:
        """Initialize a new SceneError instance.

        Args:
            scene: Id of the scene.
            why: What is wrong with it: what follows its name in a sentence, without a full stop.
            remedy: What to do, in sentences.
        """
        self.scene = shorten(str(scene), _LONGEST_VALUE)
        self.why = shorten(why, _LONGEST_PROBLEM)
        self.remedy = remedy
        super().__init__(f"Item {self.scene!r} {self.why}. {remedy}")

    def __reduce__(self) -> tuple[type[SceneError], tuple[str, str, str]]:
        """Pickle with the three arguments (the default would pass the message alone)."""
        return type(self), (self.scene, self.why, self.remedy)


class CacheError(ThorGeoError, RuntimeError):
    """The block cache cannot be written: full, read-only, or over a quota; the run cannot go on."""


class StoreError(ThorGeoError, RuntimeError):
    """An object store refused a request, or kept failing."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """Initialize a new StoreError instance.

        Args:
            message: What happened.
            retryable: Whether the store failed, so that a second attempt may succeed.
        """
        super().__init__(message)
        self.retryable = retryable


class PrefetchError(ThorGeoError, RuntimeError):
    """The prefetch process died or could not start; the run cannot go on."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """Initialize a new PrefetchError instance.

        Args:
            message: What happened.
            retryable: Whether it was stopped from outside, so that a second attempt may succeed.
        """
        super().__init__(message)
        self.retryable = retryable


def error_chain(error: BaseException, *, contexts: bool = True) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on, each once.

    Args:
        error: The error.
        contexts: Whether to follow errors that were being handled when another was raised, too.
    """
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        yield link
        seen.append(link)
        link = link.__cause__ or (link.__context__ if contexts else None)


def own_error(error: BaseException | None, *, contexts: bool = True) -> ThorGeoError | None:
    """Return the first error of this project in an `error_chain`, None without any.

    Args:
        error: The error, or None.
        contexts: As `error_chain` takes it.
    """
    chain = () if error is None else error_chain(error, contexts=contexts)
    return next((link for link in chain if isinstance(link, ThorGeoError)), None)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters; else its class.

    Args:
        error: The error.
    """
    lines = filter(None, map(str.strip, str(error).splitlines()))
    return next(lines, type(error).__name__)[:200]


class RunDirectoryError(ThorGeoError, RuntimeError):
    """The output directory belongs to another plan, or cannot be written."""


class RunLockedError(RunDirectoryError):
    """Another process is writing the same part of the run."""

    retryable = True


class RankLostError(ThorGeoError, RuntimeError):
    """Another rank of the launch is gone; the run stops, and continues when it is run again."""

    retryable = True


class WorkerError(ThorGeoError, RuntimeError):
    """A DataLoader worker died; the run stops, and continues when it is run again."""

    retryable = True
