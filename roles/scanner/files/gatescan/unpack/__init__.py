"""The unpack layer: what is packed in a part, one level at a time.

`members` opens a container by its content, never by its name; the judge calls it again on what comes out. Readers of
our own are used where speed, a bound or a second reading matters (zip, ISO, OLE2, RTF, PDF, TNEF, OneNote), libarchive
for the rest.
Nothing is written to disk, no program is started.
"""

from __future__ import annotations

from gatescan.unpack.common import MEMBER_MAX
from gatescan.unpack.dispatch import members
from gatescan.unpack.volumes import Volumes

__all__ = ["MEMBER_MAX", "Volumes", "members"]
