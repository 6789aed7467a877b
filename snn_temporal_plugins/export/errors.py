"""The numbered refusals of the export room: every failure has its own code."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BundleCode",
    "BundleError",
    "ExportCode",
    "ExportError",
    "MappingCode",
    "MappingError",
    "NirCode",
    "NirError",
]


class ExportCode(IntEnum):
    """Why a network cannot be exported."""

    UNSUPPORTED_LAYER = 101
    BIAS = 102
    GROUPS = 103
    KERNEL = 104
    GEOMETRY = 105
    RULE = 106
    NOT_FINITE = 107
    ZERO_ROW = 108
    THRESHOLD = 109
    WIDTH = 110
    HORIZON = 111
    TICK = 112
    INPUT_SHAPE = 113
    PARAMETER = 114
    NO_LAYER = 115
    OUTPUT = 116
    FILE_EXISTS = 117
    SPIKE_TRAIN = 118
    RESET = 119
    ENCODING = 120
    RESPONSE = 121
    LEAK = 122
    RECURRENT = 123
    REFRACTORY = 124


class BundleCode(IntEnum):
    """Why a bundle cannot be written or read."""

    EXISTS = 201
    NOT_A_BUNDLE = 202
    JSON = 203
    VERSION = 204
    FEATURE = 205
    SCHEMA = 206
    PATH = 207
    LINK = 208
    MISSING = 209
    UNLISTED = 210
    SIZE = 211
    HASH = 212
    TENSOR = 213
    WIDTH = 214
    SHAPE = 215
    GOLDEN = 216
    RESPONSE = 217
    ZIP = 218
    LIMIT = 219
    PINNED = 220
    UNKNOWN_FILE = 221
    MAPPING = 222
    UNREADABLE = 223


class MappingCode(IntEnum):
    """Why a network does not fit on a chip: the numbered design rules."""

    CHIP = 301
    NEURONS = 302
    WEIGHT_WORDS = 303
    TARGET_WORDS = 304
    ROUTE_WORDS = 305
    EVENT_WORDS = 306
    WEIGHT_BITS = 307
    SLOPE_BITS = 308
    POTENTIAL_BITS = 309
    IDS = 310
    IMAGE_BYTES = 311
    LAYERS = 312


class NirCode(IntEnum):
    """Why a NIR file cannot be read back."""

    NOT_NIR = 401
    SIZE = 402
    LINK = 403
    TYPE = 404
    EDGE = 405
    NODE = 406
    VALUE = 407
    METADATA = 408


class ExportError(ValueError):
    """A network, or a parameter of its export, was refused.

    Attributes:
        code: the reason, one of `ExportCode`.
    """

    def __init__(self, code: ExportCode, message: str) -> None:
        super().__init__(f"E{code.value} {code.name}: {message}")
        self.code = code


class BundleError(ValueError):
    """A bundle was refused; nothing of it was used or left behind.

    Attributes:
        code: the reason, one of `BundleCode`.
    """

    def __init__(self, code: BundleCode, message: str) -> None:
        super().__init__(f"B{code.value} {code.name}: {message}")
        self.code = code


class MappingError(ValueError):
    """A network does not fit on a chip, or the chip's description was refused.

    Attributes:
        code: the design rule that is broken, one of `MappingCode`.
    """

    def __init__(self, code: MappingCode, message: str) -> None:
        super().__init__(f"M{code.value} {code.name}: {message}")
        self.code = code


class NirError(ValueError):
    """A NIR file was refused; nothing of it was used.

    Attributes:
        code: the reason, one of `NirCode`.
    """

    def __init__(self, code: NirCode, message: str) -> None:
        super().__init__(f"N{code.value} {code.name}: {message}")
        self.code = code
