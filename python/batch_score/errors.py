"""Every exception that batch-score raises on purpose.

    BatchScoreError                exit code 1
    ├── UsageError                 exit code 2: found before anything was started
    │   ├── ConfigError            an option, a configuration file, an unsupported value
    │   ├── InputError             the files to score: missing, unreadable, of mixed kinds, malformed
    │   ├── ScorerError            the entry script or the model cannot be used
    │   │   └── ModelError         a registered model: unknown, or it cannot be registered
    │   └── OutputError            the output file exists or cannot be written
    ├── DeviceError                a worker cannot use its GPU, or not now; another one may
    ├── RecordError                a record or file of a mini-batch that cannot be read
    ├── ReturnTypeError            run() returned something that cannot be counted or written
    └── JobFailedError             a threshold, a breaker, a timeout, or nothing succeeded
        └── InputChangedError      the input is not that of the run to resume

The module imports nothing, so that every other one may import it. A message is one sentence that says
what happened, where, and what to do.
"""


class BatchScoreError(Exception):
    """The root of the tree. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(BatchScoreError):
    """The call cannot be carried out as given; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """An option or a configuration file is wrong."""


class InputError(UsageError):
    """The input is missing, unreadable, of mixed kinds or malformed."""


class ScorerError(UsageError):
    """The entry script or the model cannot be used for this input."""


class ModelError(ScorerError):
    """A model of the registry is not known, or cannot be registered."""


class OutputError(UsageError):
    """The output file exists already or its folder cannot be written."""


class DeviceError(BatchScoreError):
    """A worker's GPU is busy, full or out of order; another worker, or another process later, may do better."""


class RecordError(BatchScoreError):
    """A mini-batch cannot be read: its file changed, or a record is malformed."""


class ReturnTypeError(BatchScoreError):
    """`run()` returned a value whose elements cannot be counted, or not written in the form of the output."""


class JobFailedError(BatchScoreError):
    """The job ended as failed: a threshold was exceeded, `init()` failed everywhere, nothing succeeded."""


class InputChangedError(JobFailedError):
    """The plan of a resumed run has other mini-batches than those that were scored before: it cannot go on."""
