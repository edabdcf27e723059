"""Emulated boards: trees of Linux's files in the formats of the real kernels, as far as a benchmark reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

PI4 = {
    "sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    **{f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": "ondemand\n" for n in range(4)},
    **{f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": "1800000\n" for n in range(4)},
    **{f"sys/devices/system/cpu/cpu{n}/cpufreq/cpuinfo_max_freq": "1800000\n" for n in range(4)},
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61342\n",
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
    "proc/self/mountinfo": "24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n"
                           "30 24 0:26 / /tmp rw,nosuid shared:13 - tmpfs tmpfs rw,size=1941928k\n",
    "sys/bus/usb/devices/usb1/idVendor": "1d6b\n",
    "sys/bus/usb/devices/usb1/idProduct": "0002\n",
    "sys/bus/usb/devices/usb1/speed": "480\n",
    "sys/bus/usb/devices/2-1/idVendor": "18d1\n",
    "sys/bus/usb/devices/2-1/idProduct": "9302\n",
    "sys/bus/usb/devices/2-1/speed": "5000\n",
}
NANO = {
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson Nano Developer Kit\0",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1479000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1479000\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "921600000\n",
    "sys/class/thermal/thermal_zone0/type": "AO-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "44500\n",
    "sys/class/thermal/thermal_zone4/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone4/temp": "100000\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "3\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "4285\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "81\n",
}
ORIN = {
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1113600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1510400\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51406\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1000\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr2_input": "200\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "7\n",
}


def emulated(root: Path, files: Mapping[str, str]) -> Path:
    """Write a board's files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


class Says:
    """A stand-in for the vendors' commands: program -> what it prints; asked-for programs that are not there say ""."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers

    def __call__(self, command: Sequence[str]) -> str:
        return self.answers.get(command[0], "")
