"""Put a bill of materials into wheels, as PEP 770 has it: python .ci/bill_of_materials.py WHEEL...

It says what a wheel contains: its own package and nothing of others. The same wheel gets the same
bill: its number comes from the name and version, its time from SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL


def main(wheels: Iterable[str]) -> None:
    """Rewrite each wheel, with its bill inside."""
    for wheel in map(Path, wheels):
        with tempfile.TemporaryDirectory() as folder:
            _wheel("unpack", "--dest", folder, str(wheel))
            [unpacked] = Path(folder).iterdir()
            [information] = unpacked.glob("*.dist-info")
            (information / "sboms").mkdir()
            bill = _bill((information / "METADATA").read_text("utf-8"))
            (information / "sboms" / "corelm.cdx.json").write_text(f"{bill}\n", "utf-8")
            _wheel("pack", "--dest-dir", str(wheel.parent), str(unpacked))


def _wheel(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "wheel", *words], check=True, stdout=subprocess.DEVNULL)


def _bill(metadata: str) -> str:
    """Return the bill of materials of a package with this METADATA, as CycloneDX in JSON."""
    fields = HeaderParser().parsestr(metadata)
    name, version = fields["Name"], fields["Version"]
    address = PackageURL("pypi", name=name, version=version)
    component = Component(
        type=ComponentType.LIBRARY, name=name, version=version, purl=address,
        bom_ref=str(address), description=fields["Summary"],
        licenses=[LicenseFactory().make_from_string(fields["License-Expression"])],
    )  # fmt: skip
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, str(address)),
        metadata=BomMetaData(component=component, timestamp=made),
    )
    return JsonV1Dot6(bom).output_as_string(indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
