"""Every error that a user may see, and the exit code that belongs to it.

    InspectionError (1, fault)
    ├── UsageError (2)         wrong argument, wrong config, a path that is not there
    │   ├── ConfigError        names key, file, line and the nearest valid key
    │   ├── ShapeMismatch      two arrays or files that must agree in size do not
    │   ├── DatasetError       an image, a mask or a split that cannot be used
    │   └── GpuMissing         an NVIDIA GPU was asked for and none can be used
    ├── Refused (3)            it could run and must not
    │   ├── PackageError       hash, format version or contents of a model package
    │   ├── CertificateError   parity on this machine is missing, failed or changed
    │   ├── CompiledEngineError
    │   │   ├── EngineNotCompiled      no engine was compiled for this package and tile here
    │   │   ├── EngineVersionMismatch  compiled by another TensorRT
    │   │   ├── EngineGpuMismatch      compiled on another GPU
    │   │   ├── EngineModelMismatch    compiled from another package or graph
    │   │   └── EngineCorrupt          its bytes are not those that were written
    │   └── MemoryLimitError   the plan needs more memory than it was allowed
    ├── CameraError            the camera does not open, or was lost
    │   └── CameraStalled      no frame within the time limit; the camera may come back
    ├── EngineError            the engine failed on tiles it should have run
    │   └── DeviceLost         the GPU or the process that held it is gone; a fresh process may recover
    ├── CompileError           the compiler did not give an engine
    │   └── CompileCancelled   because somebody stopped it
    └── LedgerError            the database or the evidence folder cannot be written
        └── DiskRefused        because its disk is full, read-only, broken or somebody else's

A message is one sentence that names the thing and the value, and then the remedy.
"""


class InspectionError(Exception):
    """A failure that ends a command with a sentence instead of a traceback."""

    exit_code = 1


class UsageError(InspectionError):
    """The user asked for something that cannot be done as asked."""

    exit_code = 2


class ConfigError(UsageError):
    """A line config, recipe or training config that cannot be used."""


class ShapeMismatch(UsageError):
    """Two arrays or files that must have one size have two."""


class DatasetError(UsageError):
    """A dataset folder, or one file in it, cannot be used."""


class GpuMissing(UsageError):
    """What was asked for needs an NVIDIA GPU, and none can be used here."""


class Refused(InspectionError):
    """It could run, but what was promised would not hold."""

    exit_code = 3


class PackageError(Refused):
    """A model package was changed, is incomplete, or has another format version."""


class CertificateError(Refused):
    """The compiled model is not proven equal to the trained one on this machine."""


class CompiledEngineError(Refused):
    """There is no compiled engine that may serve here; each kind names the command that makes one."""


class EngineNotCompiled(CompiledEngineError):
    """No engine was compiled on this machine for this package and tile."""


class EngineVersionMismatch(CompiledEngineError):
    """The engine was compiled by another version of TensorRT."""


class EngineGpuMismatch(CompiledEngineError):
    """The engine was compiled on another model of GPU."""


class EngineModelMismatch(CompiledEngineError):
    """The engine was compiled from another package, or does not have the shapes that its record says."""


class EngineCorrupt(CompiledEngineError):
    """The compiled engine or its record is damaged."""


class MemoryLimitError(Refused):
    """The requested plan needs more memory than the limit allows."""


class CameraError(InspectionError):
    """The camera does not open, or was lost while running."""


class CameraStalled(CameraError):
    """No frame came within the time limit; reading again may succeed."""


class EngineError(InspectionError):
    """The engine failed on tiles that it should have run."""


class DeviceLost(EngineError):
    """The GPU, or the process that held it, is gone. Only an engine opened anew can serve."""


class CompileError(InspectionError):
    """The compiler did not turn the package's graph into an engine."""


class CompileCancelled(CompileError):
    """The compilation was stopped before its end; nothing was kept."""


class LedgerError(InspectionError):
    """The ledger or the evidence beside it cannot be read or written."""


class DiskRefused(LedgerError):
    """The disk or its rights refuse the ledger or what belongs to it; nothing is wrong with what is there."""
