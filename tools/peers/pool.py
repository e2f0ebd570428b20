"""Long-lived workers, of which one runs at a time."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.peers.worker import Job

_ROOT = Path(__file__).parents[2]


class Worker:
    """A process that runs one job's steps when asked.

    Args:
        python: The interpreter.
        job: What it runs.
    """

    def __init__(self, python: Path, job: Job) -> None:
        self._resources = contextlib.ExitStack()
        log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._log = self._resources.enter_context(log)
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._process = self._resources.enter_context(
            subprocess.Popen(
                [python, "-m", "tools.peers.worker", json.dumps(asdict(job))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        )

    def answer(self) -> dict[str, Any]:
        """The next line that it writes.

        Raises:
            RuntimeError: It ended instead; the message is the last line of its log.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines() or ["nothing"]
        raise RuntimeError(f"expected an answer, found exit status {status}: {lines[-1]}")

    def ask(self, command: str) -> dict[str, Any]:
        """Run one step and wait for what it took.

        Raises:
            RuntimeError: The process ended.
        """
        assert self._process.stdin is not None
        # Where the pipe is broken the process has ended, and why stands in its log.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(command), file=self._process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._resources.close()


class Pool:
    """Workers of one case; a worker that fails leaves and its reason stays.

    Args:
        pythons: The interpreter of each job.
        jobs: What they run, by name.
    """

    def __init__(self, pythons: Mapping[str, Path], jobs: Mapping[str, Job]) -> None:
        # All load at once; only measured steps must be alone.
        self._workers = {name: Worker(pythons[name], job) for name, job in jobs.items()}
        self.about: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        for name, worker in list(self._workers.items()):
            try:
                self.about[name] = worker.answer()
            except RuntimeError as error:
                self._drop(name, error)

    def __enter__(self) -> Self:
        """The pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.close()

    def measure(self, command: str, *, repeats: int) -> dict[str, list[dict[str, Any]]]:
        """Measured steps of every worker, in turns.

        Args:
            command: `training` or `inference`.
            repeats: Steps of each worker.

        Returns:
            The answers of the workers that gave all of them.
        """
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in self._workers}
        for _ in range(repeats):
            for name, worker in list(self._workers.items()):
                try:
                    answers[name].append(worker.ask(command))
                except RuntimeError as error:
                    self._drop(name, error)
        return {name: answers[name] for name in self._workers}

    def _drop(self, name: str, error: RuntimeError) -> None:
        self.errors[name] = str(error)
        self._workers.pop(name).close()
