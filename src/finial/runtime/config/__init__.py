"""Settings: declared once, read from TOML and options, every mistake reported at once."""

from finial.runtime.config.declare import Reload, Remark, Row, Settings, rows, setting, settings
from finial.runtime.config.forms import (
    DURATION,
    SIZE,
    SOCKET,
    Form,
    address,
    did_you_mean,
    nearest,
    read_duration,
    revision,
    write_duration,
)
from finial.runtime.config.load import Loaded, SettingsError, load
from finial.runtime.config.places import default_data_dir, default_socket

__all__ = [
    "DURATION",
    "SIZE",
    "SOCKET",
    "Form",
    "Loaded",
    "Reload",
    "Remark",
    "Row",
    "Settings",
    "SettingsError",
    "address",
    "default_data_dir",
    "default_socket",
    "did_you_mean",
    "load",
    "nearest",
    "read_duration",
    "revision",
    "rows",
    "setting",
    "settings",
    "write_duration",
]
