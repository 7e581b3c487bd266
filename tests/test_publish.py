"""Published results: found by config, read from a folder or an address, and never guessed around."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
import urllib.request
from http.client import IncompleteRead, RemoteDisconnected

import pytest
import torch
from conftest import tiny

import diffgen as dg
from diffgen import experiments
from diffgen.experiments import Measure, gap, publishing
from diffgen.experiments.publishing import plain_gap_curves, publish
from diffgen.files import DamagedFile
from diffgen.runs import PublishedRun, find_run, publication, publication_at, published_runs

CONFIG = tiny(total_images=192, n_snapshots=2)
SIGMAS, GRID = dg.log_sigmas(2, 0.5, 2), dg.edm_sigmas(2)
HOW = Measure(n_images=16, progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    last = dg.trained(CONFIG, root=tmp_path_factory.mktemp("runs"), progress=False)
    curves(last.run)
    experiments.samples(last, 3, GRID, HOW)
    return last.run


@pytest.fixture
def root(run, tmp_path):
    publish([run], tmp_path / "published")
    return tmp_path / "published"


def curves(run, how=HOW, sigmas=SIGMAS):
    return experiments.gap_curves(run.snapshots, CONFIG.data.load(), sigmas, how)


def snapshots_at(root):
    return list(dg.train(CONFIG, root=root, progress=False))


def test_what_was_computed_is_read(run, root, monkeypatch):
    monkeypatch.setattr(gap, "generalization_gap", None)  # would fail if it were called
    snapshots = snapshots_at(root)
    assert isinstance(snapshots[0].run, PublishedRun)
    assert snapshots == run.snapshots
    assert [s.images_seen for s in snapshots] == CONFIG.snapshot_images
    assert snapshots[0].shape == (1, 14, 14)
    for ours, theirs in zip(curves(run), curves(snapshots[0].run), strict=True):
        assert torch.equal(ours.val_errors, theirs.val_errors)
    assert experiments.samples(snapshots[-1], 3, GRID, HOW).shape == (3, 1, 14, 14)
    assert snapshots[0].run.log.equals(run.log)
    assert snapshots[0].run.metadata == run.metadata
    assert snapshots[0].run.finished
    publication_at(root).check()  # nothing was added


def test_one_file_a_run_and_a_manifest_beside_a_table(run, root):
    name = run.name
    assert {path.name for path in root.iterdir()} == {
        "manifest.json", "gaps.csv", f"{name}.safetensors", f"{name}.weights.safetensors",
    }  # fmt: skip
    header, *rows = (root / "gaps.csv").read_text().splitlines()
    assert header == "run,data,n_train,network,parameters,images_seen,sigma,train,val,gap,stderr,n"
    assert len(rows) == 2 * len(SIGMAS)
    assert all(row.startswith(f"{name},fashion_mnist,64,unet,") for row in rows)
    (published,) = published_runs(root)
    assert published.config == CONFIG
    assert published.metadata["versions"]["torch"] == torch.__version__
    assert published.metadata["seconds"] >= 0
    result = next(iter(published.cache.results.values()))
    assert {"measure", "version", "subject", "settings", "seconds", "code", "versions", "machine"} <= set(result)


def test_noise_levels_need_not_agree_to_the_last_bit(root):
    assert len(curves(snapshots_at(root)[0].run, sigmas=SIGMAS * (1 + 1e-9))) == 2


def test_what_was_not_published_says_so(root):
    first, _ = snapshots_at(root)
    with pytest.raises(
        FileNotFoundError, match=r"were not published in .*, only results were: train it in another fold"
    ):
        curves(first.run, HOW.with_(seed=1))
    with pytest.raises(FileNotFoundError, match=r"holds no published run .*: train it in another folder, such as runs"):
        list(dg.train(CONFIG.with_(seed=1), root=root, progress=False))


def test_small_weights_go_along(run, root):
    *_, last = snapshots_at(root)
    x = torch.randn(2, 1, 14, 14)
    assert torch.equal(last.denoiser()(x, torch.tensor(1.0)), run.snapshots[-1].denoiser()(x, torch.tensor(1.0)))
    by_path = dg.load_denoiser(root / f"{run.name}.weights.safetensors")
    assert torch.equal(by_path(x, 1.0), last.denoiser()(x, 1.0))
    assert len(curves(type("One", (), {"snapshots": [last]}), HOW.with_(seed=5))) == 1, (
        "with weights it can be computed"
    )


def test_large_weights_stay_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "LARGEST_WEIGHTS", 100)
    publish([run], tmp_path)
    assert not list(tmp_path.glob("*.weights.safetensors"))


def test_results_are_added_in_several_goes(run, root):
    before = find_run(CONFIG, root).cache.results
    curves(run, HOW.with_(seed=2))
    publish([run], root)
    after = find_run(CONFIG, root).cache.results
    assert set(before) < set(after)
    assert len(set(after) - set(before)) == 2
    publication_at(root).check()


def test_what_is_published_already_stays(run, root, tmp_path):
    """Also when the folder of the run no longer has it."""
    bare = tmp_path / "bare"
    shutil.copytree(run.folder, bare)
    shutil.rmtree(bare / "results")
    before = find_run(CONFIG, root).cache.results
    publish([dg.RunFolder(bare)], root)
    assert set(find_run(CONFIG, root).cache.results) == set(before)


def test_of_a_measure_whose_version_was_raised_only_the_newest_results_go_along(run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    monkeypatch.setattr(gap, "VERSION", gap.VERSION + 1)
    newer = dg.RunFolder(folder)
    curves(newer)
    publish([newer], tmp_path / "published")
    results = find_run(CONFIG, tmp_path / "published").cache.results
    assert {said["version"] for said in results.values() if said["measure"] == "gap"} == {gap.VERSION}
    assert any(said["measure"] == "samples" for said in results.values())


@pytest.mark.parametrize("harm", ["changed", "missing", "added"])
def test_damage_is_named(run, root, harm):
    path = root / f"{run.name}.safetensors"
    if harm == "changed":
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif harm == "missing":
        path.unlink()
    else:
        path = root / "else.safetensors"
        path.write_bytes(b"")
    with pytest.raises(DamagedFile, match=rf"{path.name} is not what was published"):
        publication_at(root).check()
    if harm != "added":
        with pytest.raises(DamagedFile, match=rf"{path.name} is not what was published"):
            curves(snapshots_at(root)[0].run)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": 1, "runs": [], "sha256": {}}'])
def test_a_damaged_manifest_is_named(root, content):
    (root / "manifest.json").write_bytes(content)
    with pytest.raises(
        DamagedFile, match=r"manifest.json is no manifest of results .*: restore it, or publish the runs"
    ):
        snapshots_at(root)


def test_a_manifest_of_another_format_says_so(root):
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DamagedFile, match="has format 99, this diffgen reads 1"):
        publication_at(root)


def test_an_unfinished_run_is_not_published(tmp_path):
    training = dg.train(CONFIG, root=tmp_path, progress=False)
    run = next(training).run
    training.close()
    with pytest.raises(FileNotFoundError, match="is not finished: train it to its end"):
        publish([run], tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_the_table_has_the_curve_at_the_most_noise_levels_of_the_snapshot_as_it_is(tmp_path):
    last, data = dg.trained(CONFIG, root=tmp_path / "runs", progress=False), CONFIG.data.load()
    for sigmas, subject in (
        (SIGMAS, last),
        (SIGMAS[:1], last),
        (dg.log_sigmas(4, 0.5, 2), experiments.windowed(last, 7, 7)),
    ):
        experiments.gap_curves([subject], data, sigmas, HOW)
    publish([last.run], tmp_path / "published")
    (curve,) = plain_gap_curves(find_run(CONFIG, tmp_path / "published")).values()
    assert len(curve.sigmas) == 2


# --- at an address ---------------------------------------------------------------------------------------------------


class Server:
    """A web server on the loopback, which notes what it is asked for."""

    def __init__(self, folder):
        self.asked = asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                asked.append(self.path.rpartition("/")[2])

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/published"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def forget():
    """As a new process would: what was fetched lies in the cache folder only."""
    for remembered in (publication._publication_at_url, publication._fetched, publication._checksum):
        remembered.cache_clear()


@pytest.fixture
def served(root, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFGEN_CACHE", str(tmp_path / "cache"))
    forget()
    server = Server(root.parent)
    yield server
    server.stop()
    forget()


def test_results_are_read_from_an_address_and_only_what_is_needed_is_fetched(run, served, monkeypatch):
    monkeypatch.setattr(gap, "generalization_gap", None)  # would fail if it were called
    snapshots = snapshots_at(served.address)
    assert served.asked == ["manifest.json"]
    assert torch.equal(curves(snapshots[0].run)[1].val_errors, curves(run)[1].val_errors)
    assert served.asked == ["manifest.json", f"{run.name}.safetensors"]
    experiments.samples(snapshots[-1], 3, GRID, HOW)
    assert len(served.asked) == 2, "a file is fetched once"
    snapshots[-1].denoiser()
    assert served.asked[2:] == [f"{run.name}.weights.safetensors"]
    forget()
    curves(snapshots_at(served.address + "/")[0].run)
    assert served.asked[3:] == ["manifest.json"], "and lies in the cache"


def test_a_file_that_the_manifest_does_not_know_is_refused(run, served, root):
    path = root / f"{run.name}.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DamagedFile, match=r"is not what was published.*does not match the known hash"):
        curves(snapshots_at(served.address)[0].run)


def test_a_manifest_can_be_pinned(served, root):
    sha256 = hashlib.sha256((root / "manifest.json").read_bytes()).hexdigest()
    assert len(snapshots_at(f"{served.address}#sha256={sha256.upper()}")) == 2
    with pytest.raises(DamagedFile, match="is not the manifest asked for"):
        snapshots_at(f"{served.address}#sha256={'0' * 64}")


def test_without_the_server_one_goes_on_with_what_was_fetched(served):
    curves(snapshots_at(served.address)[0].run)
    served.stop()
    forget()
    with pytest.warns(UserWarning, match="can't be reached .*: going on with what was fetched before"):
        assert len(curves(snapshots_at(served.address)[0].run)) == 2


@pytest.mark.parametrize("answer", [RemoteDisconnected("no answer"), IncompleteRead(b"{")])
def test_half_an_answer_is_none(answer, served, monkeypatch):
    def broken(*_, **__):
        raise answer

    snapshots_at(served.address)
    forget()
    monkeypatch.setattr(urllib.request, "urlopen", broken)
    with pytest.warns(UserWarning, match="can't be reached .*: going on with what was fetched before"):
        assert len(snapshots_at(served.address)) == 2


def test_an_address_where_nothing_is_says_so(served):
    with pytest.raises(
        OSError, match=r"manifest.json can't be fetched \(HTTP Error 404.*: check the address of results"
    ):
        snapshots_at(served.address + "/nothing")
