"""A vector of WIDTH numbers for the compiled loops: the state of as many neurons.

Inside `numba.njit`, a `Lanes` lives in SIMD registers for as long as the loop runs,
where an array would be loaded and stored at every step. LLVM cuts the lanes into what
the processor has: 64 are 4 registers of AVX-512, 16 are 2 of AVX2 or 4 of NEON.

    v = load(array, 0)                  lanes array[0:WIDTH] of a one-dimensional array
    v = fused(a, 0.5, v)                a * 0.5 + v in every lane
    v = where(above(v, a), a, v)        the smaller
    store_where(array, 0, v, negative(s))

Numba's cache does not see changes of this file: delete `__pycache__` after one.
"""

from typing import Any

import numba.extending
from llvmlite import ir
from numba.core import cgutils, registry, types
from numba.extending import models, register_model

intrinsic: Any = numba.extending.intrinsic  # its type counts the context as argument

# As many as hide the latency of sums and leave room for four vectors in the registers:
# AVX-512 has 32 of 16 numbers, AVX2 16 of 8, NEON 32 of 4. Answers do not depend on it.
_features = registry.cpu_target.target_context.codegen().magic_tuple()[2]
WIDTH = 64 if "+avx512f" in _features else 16

_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """Type of WIDTH numbers, or of as many truth values."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _vector(kind.dtype))


def _vector(dtype):
    scalars = {
        types.boolean: ir.IntType(1),
        types.float32: ir.FloatType(),
        types.float64: ir.DoubleType(),
    }
    return ir.VectorType(scalars[dtype], WIDTH)


def _bits(builder, x, dtype):
    """The lanes as integers, whose sign is that of the number."""
    return builder.bitcast(x, ir.VectorType(ir.IntType(dtype.bitwidth), WIDTH))


def _spread(builder, x, dtype):
    """One number in every lane."""
    nothing = ir.Constant(_vector(dtype), ir.Undefined)
    first = builder.insert_element(nothing, x, ir.Constant(_INDEX, 0))
    zeros = ir.Constant(ir.VectorType(_INDEX, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, nothing, zeros)


def _address(context, builder, kind, array, offset):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(
        builder.gep(data, [offset]), _vector(kind.dtype).as_pointer()
    )


@intrinsic
def splat(_context, number):
    """Lanes that all hold one number."""

    def code(_context, builder, signature, args):
        return _spread(builder, args[0], signature.args[0])

    return Lanes(number)(number), code


@intrinsic
def load(_context, array, offset):
    """Lanes array[offset : offset + WIDTH] of a one-dimensional array."""

    def code(context, builder, signature, args):
        kind = signature.args[0]
        address = _address(context, builder, kind, *args)
        return builder.load(address, align=kind.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), code


@intrinsic
def store(_context, array, offset, x):
    """Write all lanes to array[offset : offset + WIDTH]."""

    def code(context, builder, signature, args):
        kind = signature.args[0]
        address = _address(context, builder, kind, *args[:2])
        builder.store(args[2], address, align=kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, x), code


@intrinsic
def store_where(_context, array, offset, x, chosen):
    """Write the chosen lanes to array[offset : offset + WIDTH]."""

    def code(context, builder, signature, args):
        kind = signature.args[0]
        address = _address(context, builder, kind, *args[:2])
        bits = kind.dtype.bitwidth
        arguments = args[2], address, ir.Constant(_INDEX, bits // 8), args[3]
        masked_store = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [x.type for x in arguments]),
            f"llvm.masked.store.v{WIDTH}f{bits}.p0",
        )
        builder.call(masked_store, arguments)
        return context.get_dummy_value()

    return types.void(array, types.intp, x, chosen), code


@intrinsic
def add(_context, x, y):
    """X + y."""
    return x(x, x), lambda _context, builder, _signature, args: builder.fadd(*args)


@intrinsic
def subtract(_context, x, y):
    """X - y."""
    return x(x, x), lambda _context, builder, _signature, args: builder.fsub(*args)


@intrinsic
def divide(_context, x, y):
    """X / y."""
    return x(x, x), lambda _context, builder, _signature, args: builder.fdiv(*args)


@intrinsic
def fused(_context, x, number, y):
    """X * number + y, rounded once where the processor can."""

    def code(_context, builder, signature, args):
        x, number, y = args
        number = _spread(builder, number, signature.args[1])
        product = builder.fmul(x, number, flags=("contract",))
        return builder.fadd(product, y, flags=("contract",))

    return x(x, x.dtype, x), code


@intrinsic
def negative(_context, x):
    """Where the sign is set."""

    def code(_context, builder, signature, args):
        bits = _bits(builder, args[0], signature.args[0].dtype)
        return builder.icmp_signed("<", bits, ir.Constant(bits.type, [0] * WIDTH))

    return Lanes(types.boolean)(x), code


@intrinsic
def above(_context, x, y):
    """Where x > y."""

    def code(_context, builder, _signature, args):
        return builder.fcmp_ordered(">", *args)

    return Lanes(types.boolean)(x, x), code


@intrinsic
def unless(_context, chosen):
    """Where not chosen."""

    def code(_context, builder, _signature, args):
        return builder.not_(args[0])

    return chosen(chosen), code


@intrinsic
def where(_context, chosen, x, y):
    """X where chosen, else y."""
    return (
        x(chosen, x, x),
        lambda _context, builder, _signature, args: builder.select(*args),
    )


@intrinsic
def anywhere(_context, chosen):
    """Whether any lane is chosen."""

    def code(_context, builder, _signature, args):
        bits = builder.bitcast(args[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(chosen), code
