"""What each board needs, as data. docs/boards.md has the sources."""

from dataclasses import dataclass

from alledge.errors import UsageError


@dataclass(frozen=True)
class System:
    """An operating system of a board as far as wheels care.

    Attributes:
        python: version of the Python that runs alledge; own: the pack has to bring it, the system's is too old.
        glibc: minor version of its C library 2.x, which no wheel may ask more of.
        unpinned: of constraints.txt, what has no wheel for it in that version; pip takes the newest that has one.
    """

    name: str
    python: str
    glibc: int
    own: bool = False
    unpinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    """What comes from the system because no wheel can bring it. why: for a person; source: where apt needs to look."""

    name: str
    why: str
    source: str = ""


@dataclass(frozen=True)
class Board:
    """A board, and what makes it the device.

    Attributes:
        machine: as `uname -m` says; model: word that its device tree's model has.
        extras: of alledge's wheel; beside: wheels that those do not name.
        card: its disk is a memory card, which is spared.
        boot: file of lines for /boot/firmware/config.txt.
        rules, units: files of firmware_configs/udev and /systemd; enabled: units that start with the system.
        drop_in: file of firmware_configs/system that is laid over alledge.service.
    """

    name: str
    title: str
    machine: str
    systems: tuple[System, ...]
    extras: tuple[str, ...]
    model: str = ""
    beside: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
    card: bool = True
    boot: str = ""
    rules: tuple[str, ...] = ("60-alledge-devices.rules", "90-alledge-model.rules")
    units: tuple[str, ...] = ("alledge.service", "alledge-backup.service", "alledge-backup.timer",
                              "alledge-drop.path", "alledge-drop.service", "alledge-model@.service")
    enabled: tuple[str, ...] = ("alledge.service", "alledge-backup.timer", "alledge-drop.path")
    drop_in: str = ""


_RASPBERRY_PI_OS = (System("Raspberry Pi OS 12", "3.11", 36), System("Raspberry Pi OS 13", "3.13", 41))
_PICAMERA2 = Package("python3-picamera2", "the Pi's camera")
# Debian 12's simplejpeg, which picamera2 imports, was built for NumPy 1 and cannot be imported beside NumPy 2; its own
# wheel can (raspberrypi/picamera2 issue 1211).
_PI_WHEELS = ("luma.lcd>=2.11", "gpiozero>=2.0.1", "simplejpeg>=1.8.1")
_PI_EXTRAS = ("tflite", "ssd1306", "sh1106")
# No wheels of these for every Python here; Raspberry Pi OS has both.
_PINS = (Package("python3-lgpio", "button and LED"), Package("python3-spidev", "the ST7789 display"))
_UBUNTU_18 = System("Ubuntu 18.04", "3.11", 27, own=True, unpinned=("onnxruntime",))
_TENSORRT = Package("python3-libnvinfer", "TensorRT, of JetPack", "JetPack's own repository")
# TFLite runs the shipped model on the CPU until one for TensorRT is installed; ONNX Runtime stands in for that one.
_JETSON_EXTRAS = ("tflite", "onnx", "ssd1306", "sh1106")
_JETSON_UNITS = (*Board.units, "alledge-clocks.service")

BOARDS = {board.name: board for board in (
    Board("rpi-cpu", "Raspberry Pi 4 or 5", "aarch64", _RASPBERRY_PI_OS, _PI_EXTRAS, "Raspberry Pi", _PI_WHEELS,
          (_PICAMERA2, *_PINS), boot="rpi-config.txt"),
    Board("rpi-coral", "Raspberry Pi 4 or 5 with a Coral USB Accelerator", "aarch64", _RASPBERRY_PI_OS, _PI_EXTRAS,
          "Raspberry Pi", _PI_WHEELS,
          (_PICAMERA2, *_PINS, Package("libedgetpu1-std", "the Edge TPU", "Google's repository, docs/engines.md")),
          boot="rpi-config.txt", rules=("60-alledge-coral.rules", *Board.rules)),
    Board("jetson-nano", "Jetson Nano, JetPack 4.6", "aarch64", (_UBUNTU_18,),
          _JETSON_EXTRAS, "Jetson Nano", (), (_TENSORRT,), units=_JETSON_UNITS,
          drop_in="jetson.conf"),
    Board("jetson-orin", "Jetson Orin Nano, JetPack 6", "aarch64", (System("Ubuntu 22.04", "3.10", 35),),
          _JETSON_EXTRAS, "Orin", ("tomli>=2",), (_TENSORRT,), units=_JETSON_UNITS,
          drop_in="jetson.conf"),
    Board("desktop", "desktop or laptop without a microscope", "x86_64",
          (System("Debian 12", "3.11", 36), System("Debian 13", "3.13", 41)), ("tflite", "onnx"), card=False,
          rules=(), enabled=()),
)}


def find_board(name: str) -> Board:
    """The board of that name.

    Raises:
        UsageError: naming those there are.
    """
    if name not in BOARDS:
        raise UsageError(f"--board: expected one of {', '.join(BOARDS)}, received {name!r}")
    return BOARDS[name]
