"""Mail to measure with: made up, harmless, and the same in every run.

The mixed corpus has the sizes of ordinary business mail, mean about 35 KB, median about 30 KB, none over 125 KB:
plain text, newsletters, pictures, PDF files, Office documents, zip archives, forwarded messages.
"""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable
from email import policy
from email.message import EmailMessage

SEED = 20021122
_WORDS = """\
account agenda amount answer attached balance budget change client company contract copy customer date
delivery department document draft email figures file final forward friday invoice item letter list meeting
monday month number offer office order paper payment phone plan please price project question receipt
regards reply report request sales schedule service signed team thanks total update version week year
"""
WORDS = _WORDS.split()


def text(rng: random.Random, size: int) -> str:
    """Prose of about `size` characters in short lines."""
    lines: list[str] = []
    while size > 0:
        line = " ".join(rng.choices(WORDS, k=rng.randint(6, 12)))
        lines.append(line)
        size -= len(line) + 1
    return "\n".join(lines) + "\n"


def plain(rng: random.Random, size: int) -> EmailMessage:
    """A letter."""
    message = EmailMessage(policy=policy.SMTP.clone(linesep="\n"))
    message["From"] = f"{rng.choice(WORDS)}@example.org"
    message["To"] = "sink@bench.example"
    message["Subject"] = " ".join(rng.choices(WORDS, k=5))
    message["Message-ID"] = f"<{rng.getrandbits(64):x}@example.org>"
    message["Date"] = "Fri, 22 Nov 2002 10:00:00 +0000"
    message["X-Mailer"] = "made for measuring"
    message.set_content(text(rng, size))
    return message


def newsletter(rng: random.Random, size: int) -> EmailMessage:
    """Text and HTML as alternatives."""
    message = plain(rng, size // 4)
    paragraphs = text(rng, size * 3 // 4).split("\n")
    rows = "\n".join(
        f'<tr><td style="padding: 4px"><a href="https://www.example.org/{n}">{line}</a></td></tr>'
        for n, line in enumerate(paragraphs)
    )
    message.add_alternative(f"<html><body><table>\n{rows}\n</table></body></html>\n", subtype="html")
    return message


def picture(rng: random.Random, size: int) -> EmailMessage:
    """A photograph."""
    message = plain(rng, 1500)
    data = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + rng.randbytes(size * 3 // 4) + b"\xff\xd9"
    message.add_attachment(data, maintype="image", subtype="jpeg", filename="photo.jpg")
    return message


def pdf(rng: random.Random, size: int) -> EmailMessage:
    """An invoice."""
    message = plain(rng, 2000)
    message.add_attachment(pdf_file(rng, size * 3 // 4), maintype="application", subtype="pdf", filename="invoice.pdf")
    return message


def pdf_file(rng: random.Random, size: int) -> bytes:
    """A PDF with compressed pages and one picture that makes up its size."""
    pages = [zlib.compress(b"BT /F1 11 Tf " + text(rng, 3000).encode() + b" ET") for _ in range(3)]
    streams = [b"<< /Length %d /Filter /FlateDecode >>" % len(page) for page in pages]
    pages.append(rng.randbytes(max(100, size - sum(map(len, pages)) - 900)))
    streams.append(b"<< /Type /XObject /Subtype /Image /Filter /DCTDecode /Length %d >>" % len(pages[-1]))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"]
    objects.append(b"<< /Type /Page /Parent 2 0 R /Contents [4 0 R 5 0 R 6 0 R] >>")
    objects += [head + b"\nstream\n" + data + b"\nendstream" for head, data in zip(streams, pages, strict=True)]
    out, offsets = io.BytesIO(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    out.seek(0, io.SEEK_END)
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
    return out.getvalue()


def zip_file(files: dict[str, bytes]) -> bytes:
    """A zip archive with a fixed time stamp."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2002, 11, 22, 10, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def archive(rng: random.Random, size: int) -> EmailMessage:
    """A zip of a table, a letter and a picture."""
    message = plain(rng, 1500)
    files = {
        "figures.csv": text(rng, size // 2).encode(),
        "letter.txt": text(rng, 3000).encode(),
        "picture.png": b"\x89PNG\r\n\x1a\n" + rng.randbytes(size // 2),
    }
    message.add_attachment(zip_file(files), maintype="application", subtype="zip", filename="papers.zip")
    return message


def document(rng: random.Random, size: int) -> EmailMessage:
    """A Word document."""
    message = plain(rng, 1500)
    types = (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>'
    )
    files = {
        "[Content_Types].xml": types.encode(),
        "word/document.xml": f"<w:document><w:body>{text(rng, size)}</w:body></w:document>".encode(),
        "word/media/image1.png": b"\x89PNG\r\n\x1a\n" + rng.randbytes(size // 2),
    }
    subtype = "vnd.openxmlformats-officedocument.wordprocessingml.document"
    message.add_attachment(zip_file(files), maintype="application", subtype=subtype, filename="offer.docx")
    return message


def forwarded(rng: random.Random, size: int) -> EmailMessage:
    """A message with another one in it, which has an attachment."""
    message = plain(rng, 800)
    message.add_attachment(rng.choice((pdf, archive, newsletter))(rng, size))
    return message


Maker = Callable[[random.Random, int], EmailMessage]
MIX: tuple[tuple[int, Maker, int, int], ...] = (
    (36, plain, 1_500, 12_000),
    (20, newsletter, 6_000, 32_000),
    (12, picture, 20_000, 95_000),
    (12, pdf, 20_000, 95_000),
    (8, archive, 25_000, 90_000),
    (6, document, 25_000, 80_000),
    (6, forwarded, 20_000, 60_000),
)
"""(weight, maker, least and greatest size in bytes)"""


def mixed(count: int) -> list[bytes]:
    """The mixed corpus."""
    rng = random.Random(SEED)
    weights = [weight for weight, *_ in MIX]
    messages = []
    for _, maker, least, greatest in rng.choices(MIX, weights, k=count):
        messages.append(maker(rng, rng.randint(least, greatest)).as_bytes())
    return messages


def program_in_zip() -> bytes:
    """What every scanner here must not let through: a program in a zip archive."""
    rng = random.Random(SEED)
    message = plain(rng, 500)
    data = zip_file({"setup.exe": b"MZ\x90\x00" + bytes(60) + rng.randbytes(2000)})
    message.add_attachment(data, maintype="application", subtype="zip", filename="papers.zip")
    return message.as_bytes()


def of_size(size: int, count: int) -> list[bytes]:
    """Messages of about `size` bytes: plain text up to 8 KB, from there on text with a picture."""
    rng = random.Random(SEED + size)
    if size <= 8_192:
        return [plain(rng, max(100, size - 330)).as_bytes() for _ in range(count)]
    return [picture(rng, size - 2_800).as_bytes() for _ in range(count)]
