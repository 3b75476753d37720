"""What makes payloads unreadable to Temporal: keys, codec, data converter. Operator, workers and command line share it.

Never imported by workflow code: cryptography cannot be loaded inside the workflow sandbox.
"""

from bascule_codec.codec import EncryptionCodec, data_converter
from bascule_codec.keys import Keyring, KeyringError

__all__ = ["EncryptionCodec", "Keyring", "KeyringError", "data_converter"]
