"""A Sphinx extension of the book: the directives `claims` and `glued-figure` show on one page what chapters glued.

Both are filled when all pages have been read, from what the notebooks on the site carry, whoever executed them; before
a chapter has been executed they say so instead of failing.
"""

import ast
import json
import re
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives

from diffgen.book.claims import Claim, Ledger, table


class ClaimsTable(nodes.General, nodes.Element):
    """Where the table of all claims goes."""


class GluedImage(nodes.General, nodes.Element):
    """Where an image goes that another page glued."""


class Claims(Directive):
    """The ledgers of all chapters (diffgen.book.ledger) as one table: no arguments."""

    def run(self):
        """Leave a mark."""
        return [ClaimsTable()]


class GluedFigure(Directive):
    """A figure that a chapter glued, with a caption: the arguments are the chapter's document name and the key."""

    required_arguments = 2
    has_content = True
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self):
        """Leave a mark inside of a figure with the caption."""
        document, key = self.arguments
        figure = nodes.figure("", GluedImage(document=document, key=key, alt=self.options.get("alt", "")))
        text, messages = self.state.inline_text(" ".join(self.content), self.lineno)
        figure += nodes.caption("", "", *text)
        return [figure, *messages]


def _glued(app, docname: str) -> dict[str, dict[str, str]]:
    """What a page glued: key -> media type -> content."""
    path = Path(app.env.mystnb_config.output_folder) / f"{docname}.glue.json"
    glued = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {key: output["data"] for key, output in glued.items()}


def _claims(app, docname: str) -> list[Claim]:
    text = _glued(app, docname).get("ledger", {}).get("text/plain")
    return Ledger.loads(ast.literal_eval(text)).claims if text else []  # glued is a string's repr


def _table(app, docname: str) -> str:
    claims = [(claim, name) for name in sorted(app.env.found_docs) for claim in _claims(app, name)]
    claims.sort(key=lambda pair: int(re.search(r"\d+|$", pair[0].id)[0] or 0))  # C2 before C10, else as in the chapters
    links = {claim.id: app.builder.get_relative_uri(docname, name) for claim, name in claims}
    return table([claim for claim, _ in claims], links) if claims else "<p>No chapter has been executed yet.</p>"


def _fill(app, doctree, docname):
    for place in list(doctree.findall(ClaimsTable)):
        place.replace_self(nodes.raw("", f'<div class="claims-scroll">{_table(app, docname)}</div>', format="html"))
    for place in list(doctree.findall(GluedImage)):
        png = _glued(app, place["document"]).get(place["key"], {}).get("image/png")
        if png:
            # embedded: images were collected when the pages were read; "?" tells Sphinx to leave the address alone
            uri = "data:image/png;base64," + png.replace("\n", "")
            place.replace_self(nodes.image(uri=uri, alt=place["alt"], candidates={"?": uri}))
        else:
            place.replace_self(nodes.paragraph(text=f"(drawn by {place['document']} once it has been executed)"))


def _without_thebe(app, config):
    # Jupyter Book always loads Thebe (code that runs on a server): its script names another site and, with this Sphinx,
    # comes twice, which is an error in the browser's console
    for event in ("env-before-read-docs", "doctree-resolved"):
        listeners = app.events.listeners[event]
        listeners[:] = [one for one in listeners if not one.handler.__module__.startswith("sphinx_thebe")]


def setup(app):
    """Register with Sphinx."""
    for node in (ClaimsTable, GluedImage):
        app.add_node(node)
    app.add_directive("claims", Claims)
    app.add_directive("glued-figure", GluedFigure)
    app.connect("config-inited", _without_thebe)
    app.connect("doctree-resolved", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
