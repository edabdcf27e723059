"""One library, one model, one number of threads, in a process of its own: what `engines.py` asks in turns.

    python engine_loop.py LIBRARY MODEL THREADS IMAGE.npy

IMAGE is the model's input as float32. Says one JSON line: version, milliseconds from before the library's import to the
first answer, resident MiB, probabilities. Then, for each line "COUNT" on standard input: milliseconds of processor time
and by the clock per inference. It needs NumPy and the library only, so that a Python of another age can run it.
"""

import json
import os
import sys
from time import perf_counter, process_time

import numpy as np

LIBRARY, MODEL, THREADS, IMAGE = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def tflite(module, image):
    """A step of LiteRT or of its predecessor: set, invoke, get."""
    interpreter = module.Interpreter(model_path=MODEL, num_threads=THREADS)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]
    image = quantised(image, into)
    places = interpreter.get_output_details()

    def step():
        interpreter.set_tensor(into["index"], image)
        interpreter.invoke()
        return [real(interpreter.get_tensor(place["index"]), place) for place in places]
    return step


def onnx(module, image):
    """A step of ONNX Runtime."""
    options = module.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = THREADS, 1, 3
    session = module.InferenceSession(MODEL, options, ["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, fed)


def alledge(module, image):
    """The engine as a run uses it: checked, real numbers in and out."""
    from alledge.bundle import Bundle
    engine = module.open_engine(Bundle.open(MODEL), threads=THREADS)

    def step():
        output = engine.infer(image[0])
        return output.probs[None], output.embedding[None]
    return step


def quantised(image, details):
    scale, zero = details["quantization"]
    if details["dtype"] == np.float32:
        return image
    levels = np.iinfo(details["dtype"])
    return np.clip(np.rint(image / scale + zero), levels.min, levels.max).astype(details["dtype"])


def real(values, details):
    scale, zero = details["quantization"]
    return values if values.dtype == np.float32 else (values.astype(np.float32) - zero) * scale


def opened(image):
    """Step and version; the library is imported here, so that its import counts."""
    if LIBRARY == "LiteRT":
        from ai_edge_litert import interpreter as module
        return tflite(module, image), package("ai-edge-litert")
    if LIBRARY == "tflite_runtime":
        from tflite_runtime import interpreter as module
        return tflite(module, image), package("tflite-runtime")
    if LIBRARY == "ONNX Runtime":
        import onnxruntime as module
        return onnx(module, image), module.__version__
    from alledge.device import engine as module
    return alledge(module, image), package("alledge")


def package(name):
    from importlib.metadata import version
    return version(name)


def main():
    if THREADS == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    image = np.load(IMAGE)
    began = perf_counter()
    step, version = opened(image)
    outputs = step()
    ready = (perf_counter() - began) * 1e3
    with open("/proc/self/statm") as pages:
        mib = int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    probs = next(np.ravel(o) for o in outputs if np.size(o) == 4)
    print(json.dumps({"version": version, "ready_ms": ready, "mib": mib, "probs": probs.tolist()}), flush=True)
    for line in sys.stdin:
        count = int(line)
        wall, cpu = perf_counter(), process_time()
        for _ in range(count):
            step()
        print(json.dumps([(process_time() - cpu) / count * 1e3, (perf_counter() - wall) / count * 1e3]), flush=True)


if __name__ == "__main__":
    main()
