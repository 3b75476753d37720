"""`bascule-operator`: settings, logs, signals; then the bridge."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from importlib import metadata

from pydantic import ValidationError
from temporalio.runtime import Runtime, TelemetryConfig

from bascule_codec import KeyringError
from bascule_operator import bridge
from bascule_operator.errors import LeadershipLostError
from bascule_operator.settings import Settings, described
from bascule_telemetry import logs, traces

log = logging.getLogger("bascule_operator")


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("starting")
    await bridge.serve(settings, stop)
    log.info("stopped")


def main() -> int:
    """Serve until SIGTERM. Returns the exit code: 1 when a watch, a connection or the lead could not be kept."""
    parser = argparse.ArgumentParser(
        prog="bascule-operator",
        description="Bridges Bascule's resources to Temporal workflows. Settings are environment variables:\n\n"
        + described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        print(f"the settings are wrong:\n{error}", file=sys.stderr)
        return 2
    logs.configure(settings.log_level)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs.of_temporal())))
    traces.setup("bascule-operator", metadata.version("bascule"))
    try:
        asyncio.run(_serve(settings))
    except KeyringError as error:
        log.error("the payload keys cannot be used", extra={"error": str(error)})  # noqa: TRY400
        return 1
    except LeadershipLostError as error:
        log.warning("another operator leads: ending, to stand by", extra={"error": str(error)})
        return 1
    except Exception:
        log.exception("ended")
        return 1
    finally:
        traces.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
