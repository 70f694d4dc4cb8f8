"""Composition root: settings, app, component, synthesis. `cdktf` runs it as cdktf.json says.

`python main.py COMPONENT` synthesizes another component than the upload platform; see synthesis/components.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from synthesis.boot import boot, collect_no_garbage
from synthesis.components import DEFAULT, component_of
from synthesis.output_folder import locked_output
from synthesis.paths import ROOT


def main(name: str = DEFAULT) -> None:
    """Synthesize one component of the environment that ENVIRONMENT names, into CDKTF_OUTDIR or cdktf.out.

    Raises:
        SystemExit: the component or a setting is wrong, or a package is missing; the message says what to do.
    """
    component = component_of(name)
    collect_no_garbage()
    boot()
    from cdktf import App

    from modules.packaging import PackagingError
    from modules.settings import SettingsError, load

    try:
        settings = load(ROOT / "environments")
        app = App()
        output = Path(app.outdir).resolve()
        with locked_output(output):
            component.add(app, settings, output)
            app.synth()
    except (SettingsError, PackagingError) as error:
        sys.exit(f"error: {error}")
    except RuntimeError as error:
        # jsii puts the messages of the guards in front of a stack trace of its JavaScript.
        sys.exit(f"error: {str(error).partition(chr(10) + '    at ')[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
