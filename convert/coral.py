"""Target `coral`: the same network for the Edge TPU, ready for its compiler, with attention it can map."""

from .converted import Converted
from .cpu import quantise_run
from .edgetpu_ops import SRAM_BYTES
from .lint import check_static_integer, lint
from .options import Options
from .tflite_graph import parameter_bytes
from .tflite_run import BUILTIN, kernels, specs
from .trained import Trained

# Twice the cpu target's and a margin: kernel sets differed by 0.125 against 0.062 on a small network, by the same 0.02
# on MobileNetV2 (docs/decisions/003-int8-attention.md). Not measured on an Edge TPU.
TOLERANCE = 0.15


def convert(trained: Trained, options: Options) -> Converted:
    """Re-express attention, quantise, and hold the result against the Edge TPU's table.

    Raises:
        DataError: when a layer cannot be expressed in 8-bit integers or its attention is not self-attention.
        GateNotMet: when the model could not be compiled for an Edge TPU.
    """
    from .edge_attention import with_table_attention

    content = quantise_run(trained, with_table_attention(trained.model))
    facts = check_static_integer(content)
    rows, tensors, size = lint(content), specs(content), parameter_bytes(content)
    refused = sum(row.count for row in rows if row.mapped is False)
    warnings = ["not compiled for the Edge TPU: Google's compiler runs on x86-64 Linux only; finish with "
                "`edgetpu_compiler -s -m 13 model.tflite` where it is installed. It runs on the CPU with `alledge run "
                "--engine tflite`."]
    if refused:
        warnings.append(f"{refused} operations are outside the Edge TPU table: they and all after them stay on the CPU")
    if size > SRAM_BYTES:
        warnings.append(f"{size / 2**20:.1f} MiB of parameters exceed the {SRAM_BYTES // 2**20} MiB on the chip: the "
                        "rest streams over USB at every inference")
    gates = {"lint": {"refused": refused, "passed": not refused}, "runtime": {**facts, "passed": True},
             "parameters": {"bytes": size, "on_chip": SRAM_BYTES, "passed": size <= SRAM_BYTES}}
    return Converted(content, "model.tflite", "coral", tensors["image"], tensors["probs"], tensors["embedding"],
                     kernels(content), rows, TOLERANCE, slow_kernels=frozenset({BUILTIN}), compiled=False,
                     facts=gates, warnings=tuple(warnings))
