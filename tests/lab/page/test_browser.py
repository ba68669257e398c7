"""The page in a browser: it asks for nothing, says nothing on the console, and does what its controls say."""

import io
import math
import re

import numpy as np
import pytest

from minibert.lab.page import save_page
from minibert.lab.page.bugs import effects
from tests.lab.page.chromium import chromium, opened
from tests.lab.page.deep import deep_trace
from tests.lab.traces import traced

PROBS = "bert.encoder.layer.0.attention.self.probs"
ADDED = "bert.encoder.layer.1.output.LayerNorm.added"


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    save_page(
        traced("masked LM"),
        path,
        title="Six tokens",
        command="made by a test",
        curves=[PROBS],
        whole=traced("masked LM").check(whole=True),
    )
    return path


@pytest.fixture(scope="module")
def tab(browser, file):
    with opened(browser, file) as one:
        yield one


def number(text):
    return float(text.replace("−", "-").replace("∞", "inf"))


def box(name):
    return f'svg.map a[data-t="{name}"]'


def fill(tab, name):
    return tab.locator(f"{box(name)} rect").evaluate("node => getComputedStyle(node).fill")


CELLS = """asked => asked.map(([name, kind, part, cell]) => {
    const { byName, doc, compute } = window.minibert, t = byName.get(name);
    return compute(t, part, doc.equations[kind === "grad" ? t.backward : t.forward], cell);
})"""


@pytest.mark.parametrize(
    ("case", "dropout_seed"),
    [("pre-training", 7), ("untied, tanh GELU", None), ("causal, SiLU", None), ("encoder and pooler, ReLU", None),
     ("several labels", None), ("regression", None), ("spans", None), ("choices", None), ("tags", 7)],
)  # fmt: skip
def test_cells_of_every_tensor_unfold_to_what_was_computed(browser, tmp_path, case, dropout_seed):
    """Forward and backward, of all sequences, parameters too, from the numbers that the page has in float32."""
    trace, rng = traced(case, dropout_seed), np.random.default_rng(0)
    save_page(trace, tmp_path / "page.html", curves=(), bugs=0)
    asked, expected = [], []
    for name, entry in trace.entries.items():
        for kind, equation, arrays in (
            ("value", entry.equation, trace.parts(entry)),
            ("grad", entry.gradient, trace.gradient_parts(entry)),
        ):
            for part, array in enumerate(arrays if equation else []):
                scale = np.abs(array[np.isfinite(array)]).max(initial=0)
                if name.endswith(".bias") and (owner := trace.entries.get(name.removesuffix(".bias"))):
                    # may be 0 but for rounding, where all that is added up cancels
                    scale = max(np.abs(g).sum(axis=-2).max() for g in trace.gradient_parts(owner))
                for _ in range(3):
                    cell = tuple(int(rng.integers(size)) for size in array.shape)
                    asked.append([name, kind, part, cell])
                    expected.append((float(array[cell]), float(scale)))
    with opened(browser, tmp_path / "page.html") as tab:
        found = tab.evaluate(CELLS, asked)
    assert len(found) > 2.5 * len(trace)
    for what, got, (truth, scale) in zip(asked, found, expected, strict=True):
        got = -math.inf if got is None or got == -math.inf else got  # scores of the future
        assert got == truth or abs(got - truth) <= 1e-5 * scale, (what, got, truth)


def test_functions_are_as_exact_as_pythons(tab):
    x = np.linspace(-9, 9, 401).tolist()
    found = tab.evaluate("x => x.map(window.minibert.normalCdf)", x)
    worst = max(abs(got - math.erfc(-a / math.sqrt(2)) / 2) for a, got in zip(x, found, strict=True))
    assert worst < 1e-15
    numbers = [0.1, -3.5, 1e-310, 2.0**-1074, 1e300, 0.30325177]
    texts = tab.evaluate("x => x.map(window.minibert.hexFloat)", numbers)
    assert [float.fromhex(text) for text in texts] == numbers
    assert texts[0] == (0.1).hex()


def test_it_opens_quickly(browser, file):
    with opened(browser, file) as tab:
        took = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < took < 1500  # 300 ms on an idle machine


def test_a_click_chooses_a_tensor(tab):
    tab.locator(box(ADDED).replace("layer.1", "layer.0")).click()
    assert tab.locator("#card h2").inner_text() == ADDED.replace("layer.1", "layer.0")
    assert "hidden feature" in tab.locator("#card .facts").inner_text()
    assert tab.locator("#card pre .here").count() == 2  # the lines of code, forward and backward
    assert "added = " in tab.locator("#card pre .here").first.inner_text()
    assert tab.locator("#card .equation math").count() >= 3
    assert tab.locator(".chosen[data-t]").first.get_attribute("data-t") == ADDED.replace("layer.1", "layer.0")


@pytest.mark.parametrize("kind", ["value", "grad"])
def test_a_clicked_cell_unfolds_to_the_stored_number(tab, kind):
    trace = traced("masked LM")
    tab.goto(f"{tab.url.partition('#')[0]}#t={PROBS}")
    canvas = tab.locator("#card .canvas").nth(int(kind == "grad"))
    size = canvas.bounding_box()
    canvas.click(position={"x": size["width"] * 2.5 / 6, "y": size["height"] * 4.5 / 6})  # row 4, column 2
    tab.locator("#inspector [role=tab]").nth(int(kind == "grad")).click()
    assert tab.locator("#inspector h3 code").inner_text() == f"{'d' * (kind == 'grad')}p[0,4,2]"
    rows = dict(row.inner_text().split("\t") for row in tab.locator("#inspector .verdict tr").all())
    truth = getattr(trace[PROBS], kind)[0, 4, 2]
    assert number(rows["computed from the equation"]) == pytest.approx(truth, rel=1e-6)
    assert number(rows["stored (float32)"]) == pytest.approx(truth, rel=1e-7)
    assert abs(number(rows["difference"])) < 1e-6
    total = tab.locator("#inspector .sum").last.locator("summary b").inner_text()
    terms = [
        number(row.inner_text().split("\t")[-2])
        for row in tab.locator("#inspector .sum").last.locator("tbody tr").all()
    ]
    assert sum(terms) == pytest.approx(number(total), rel=1e-4)
    assert terms == sorted(terms, key=lambda term: -abs(term))
    assert f"value {trace[PROBS].value[0, 4, 2]:.6g}" in tab.locator("#card .readout").inner_text()


def test_a_number_in_a_sum_leads_to_its_tensor(tab):
    tab.goto(f"{tab.url.partition('#')[0]}#t={PROBS}&i=1,4,2&g=1")
    tab.locator("#inspector .sum tbody button.link").first.click()
    assert tab.locator("#card h2").inner_text() == PROBS.replace("probs", "context")
    assert re.search(r"&i=1,4,\d+&g=1$", tab.url)


def test_a_deep_link_restores_tensor_cell_and_side(browser, file):
    with opened(browser, file, "#t=blocks.1.hook_resid_post&i=3,17&g=1") as tab:
        assert tab.locator("#card h2").inner_text() == ADDED
        assert tab.locator("#inspector h3 code").inner_text() == "dz₂[3,17]"
        assert tab.url.endswith(f"#t={ADDED}&i=3,17&g=1")
        assert tab.locator("#chunked").inner_text()[:8] == tab.locator("#fused").inner_text()[:8]
        assert tab.locator("#derivation-body > .steps > li").count() == 6
        tab.locator("#derivation .tabs button").nth(1).click()
        last = tab.locator("#derivation-body > .steps > li").last.locator(".numbers").inner_text()
        truth = traced("masked LM")[ADDED].grad[3, 17]
        assert number(last.removeprefix("= ")) == pytest.approx(truth, rel=1e-5)
    with opened(browser, file, "#t=nonsense&i=1") as tab:
        assert tab.locator("#card h2").inner_text() == PROBS


def test_keys(tab):
    tab.goto(f"{tab.url.partition('#')[0]}#t={PROBS}&i=0,1,1")
    tab.locator("h1").click()
    tab.keyboard.press("j")
    assert tab.locator("#card h2").inner_text().endswith("self.context")
    tab.keyboard.press("k")
    assert tab.locator("#card h2").inner_text() == PROBS
    tab.keyboard.press("b")
    assert tab.locator("#inspector h3 code").inner_text().startswith("dp")
    tab.keyboard.press("b")
    tab.keyboard.press("/")
    tab.keyboard.type("hook_attn_scores")
    assert tab.locator("#found button").count() == 2
    tab.keyboard.press("Enter")
    assert tab.locator("#card h2").inner_text() == PROBS.replace("probs", "scores")
    tab.keyboard.press("?")
    assert tab.locator("dialog").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("dialog").is_visible()
    tab.locator("#card .canvas").first.focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    assert tab.url.endswith("&i=0,1,1")


def test_colours_of_the_map(tab):
    before = fill(tab, PROBS)
    tab.get_by_label("gradient", exact=True).check()
    assert fill(tab, PROBS) != before
    tab.get_by_label("check", exact=True).check()
    assert "allowed" in tab.locator("#map-legend").inner_text()
    tab.get_by_label("value", exact=True).check()
    assert fill(tab, PROBS) == before


def test_a_bug_turns_what_it_makes_wrong_red(tab):
    names = [mutant.name for mutant, _ in effects(traced("masked LM")).shown]
    tab.select_option("#bug-choice", str(names.index("softmax: row-sum term missing")))
    wrong = set(tab.locator("svg.map a.wrong").evaluate_all("nodes => nodes.map(n => n.dataset.t)"))
    scores = PROBS.replace("probs", "scores")
    assert {scores, PROBS.replace("probs", "query"), "bert.embeddings.sum"} <= wrong
    assert PROBS not in wrong
    assert ADDED not in wrong
    red, green, blue = map(float, re.findall(r"[\d.]+", fill(tab, scores)))
    assert red > 150 > green + 20
    assert red > 2 * blue
    assert tab.locator("#bug-answer pre").is_hidden()
    tab.locator("#bug-answer summary").click()
    assert "probs * dprobs" in tab.locator("#bug-answer pre").inner_text()
    assert scores in tab.locator("#bug-body").text_content()
    tab.goto(f"{tab.url.partition('#')[0]}#t={scores}")
    number_of_bug = names.index("softmax: row-sum term missing") + 1
    for place in "#card .facts", "#check-one":
        assert f"✗ wrong with bug {number_of_bug}: changed by" in tab.locator(place).inner_text()
    assert "✓ right" not in tab.locator("#card .facts").inner_text()
    tab.goto(f"{tab.url.partition('#')[0]}#t={PROBS}")
    assert f"✓ right with bug {number_of_bug}, too" in tab.locator("#card .facts").inner_text()
    tab.locator("h1").click()
    tab.keyboard.press("Escape")
    assert tab.locator("svg.map a.wrong").count() == 0
    assert "✓ right against the complex step" in tab.locator("#card .facts").inner_text()
    assert "bug" not in tab.locator("#check-one").inner_text()


def test_a_bug_is_chosen_while_its_card_is_shown(tab):
    trace = traced("masked LM")
    (_, changes), *_ = effects(trace).shown
    worst = max(zip(changes, trace.entries, strict=True))
    tab.goto(f"{tab.url.partition('#')[0]}#t={worst[1]}")
    tab.select_option("#bug-choice", "0")
    said = tab.locator("#card .facts").inner_text()
    assert number(re.search(r"✗ wrong with bug 1: changed by (\S+) of its norm", said)[1]) == pytest.approx(
        worst[0], rel=0.06
    )
    tab.select_option("#bug-choice", "")
    assert "✓ right against" in tab.locator("#card .facts").inner_text()


def test_a_search_that_finds_nothing_says_so(tab):
    said = tab.locator("#found-none")
    assert said.get_attribute("aria-live") == "polite"
    tab.locator("#search").fill("probs")
    assert said.inner_text() == ""
    tab.locator("#search").fill("no such <tensor>")
    assert said.inner_text() == "no tensor matches “no such <tensor>”"
    assert said.is_visible()
    assert tab.locator("#found").is_hidden()
    tab.keyboard.press("Escape")
    assert said.inner_text() == ""


def test_check_and_curve(tab):
    tab.goto(f"{tab.url.partition('#')[0]}#t={PROBS}")
    assert tab.locator("#check-one tr").count() == 3  # head, one step, whole
    assert tab.locator("#check-one svg circle").count() == 12
    tab.locator("#check-plot circle").nth(3).dispatch_event("click")
    assert tab.locator("#card h2").inner_text() == list(traced("masked LM"))[3]
    assert "No curve" in tab.locator("#check-one").inner_text()


def test_attention(tab):
    tab.locator("#attention").scroll_into_view_if_needed()
    tab.locator(".head").first.wait_for()
    assert tab.locator(".head").count() == 8
    assert tab.locator(".lines path").count() > 5
    tab.get_by_label("layer 1 head 2").click()
    assert "Layer 1, head 2" in tab.locator(".enlarged").inner_text()
    everything = tab.locator(".lines path").count()
    tab.locator("button.token").nth(2).click()
    assert 0 < tab.locator(".lines path").count() < everything
    assert tab.locator(".lit[data-token]").count() >= 4  # the token itself, rows of both pictures, lines
    tab.locator("button.token").nth(2).click()
    for mode in "gradient", "probability × gradient", "scores":
        tab.locator("#attention .tabs button", has_text=re.compile(f"^{mode}$")).click()
        assert mode in tab.locator(".enlarged figcaption").first.inner_text()


def test_a_download_is_numpys_file(tab):
    tab.goto(f"{tab.url.partition('#')[0]}#t={ADDED}")
    with tab.expect_download() as info:
        tab.locator(".statistics button").nth(1).click()
    assert info.value.suggested_filename == f"d.{ADDED}.npy"
    array = np.load(io.BytesIO(info.value.path().read_bytes()))
    np.testing.assert_allclose(array, traced("masked LM")[ADDED].grad, rtol=1e-6, atol=1e-9)


def test_dark_and_narrow(browser, file):
    grounds = []
    for scheme in "light", "dark":
        with opened(browser, file, color_scheme=scheme, viewport={"width": 800, "height": 900}) as tab:
            grounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert tab.evaluate("document.documentElement.scrollWidth") <= 800
            if scheme == "dark":
                tab.locator("#theme").click()
                assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == grounds[0]
    assert grounds[0] != grounds[1]


def test_without_script_there_are_header_map_checks_identities_and_a_list(browser, file):
    with opened(browser, file, java_script_enabled=False) as tab:
        text = tab.locator("body").inner_text()
        assert "Six tokens" in text
        assert "69/69 activation and 42/42 parameter gradients are right" in text
        assert "made by a test" in text
        assert tab.locator("svg.map a").count() == 111
        assert tab.locator("#check-plot circle").count() == 111
        assert tab.locator("#identities tbody tr").count() == 12
        assert tab.locator("#list tbody tr").count() == 111
        assert not tab.locator("#bug-choice").is_visible()
        assert tab.locator(".no-script").is_visible()


@pytest.fixture(scope="module")
def deep_file(tmp_path_factory):
    """Float16 in the middle, no matrices there."""
    path = tmp_path_factory.mktemp("deep") / "page.html"
    save_page(deep_trace(), path, max_mb=2.0, curves=(), bugs=0)
    return path


def test_what_is_left_out_is_named_and_the_rest_unfolds(browser, deep_file):
    """Weight gradients still follow from two activations."""
    trace = deep_trace()
    with opened(browser, deep_file, "#t=encoder.layer.2.intermediate.dense&i=1,2") as tab:
        assert "display precision" in tab.locator("#card .facts").inner_text()
        assert "display precision" in tab.locator("#inspector .verdict").inner_text()
        warning = tab.locator("#inspector .warning").first.inner_text()
        assert "layer 2.intermediate.dense.weight is missing" in warning
        tab.goto(f"{tab.url.partition('#')[0]}#t=encoder.layer.2.intermediate.dense.weight&i=4,5&g=1")
        shown = number(tab.locator("#inspector .verdict td").first.inner_text())
        gradient = trace["encoder.layer.2.intermediate.dense.weight"].grad
        assert shown == pytest.approx(gradient[4, 5], abs=2e-3 * np.abs(gradient).max())
        assert tab.locator("#card .heat canvas").count() == 1  # of the gradient; the weight itself is left out
        assert "not in the page" in tab.locator("#card .heat").first.inner_text()
        tab.goto(f"{tab.url.partition('#')[0]}#t=encoder.layer.0.intermediate.dense&i=1,2")
        assert tab.locator("#inspector .warning").count() == 0


def written(text):
    """A number as it is shown -> its value, one of its last digit, how many digits it has."""
    mantissa, _, exponent = text.replace("−", "-").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return (
        float(f"{mantissa}e{exponent or 0}"),
        10.0 ** (int(exponent or 0) - decimals),
        len(re.sub(r"\D", "", mantissa).lstrip("0")),
    )


@pytest.mark.parametrize(
    ("name", "kind", "cells"),
    [("attention.self.probs", "value", [(0, 1, 2), (1, 5, 5), (3, 0, 4)]),
     ("attention.self.scores", "grad", [(0, 1, 2), (2, 3, 3)]),
     ("intermediate.dense.weight", "grad", [(4, 5), (100, 60)]),
     ("output.LayerNorm.added", "grad", [(1, 2), (5, 63)])],
)  # fmt: skip
def test_no_more_digits_are_shown_than_float16_keeps(browser, deep_file, name, kind, cells):
    tensor = deep_trace()[f"encoder.layer.2.{name}"]
    side = kind == "grad"
    with opened(browser, deep_file) as tab:
        for cell in cells:
            tab.goto(f"{deep_file.as_uri()}#t={tensor.name}&i={','.join(map(str, cell))}{'&g=1' * side}")
            head = tab.locator("#inspector h3 .n").inner_text()
            assert "0x" not in head
            shown = [
                head.strip("= ").removesuffix(", in float16"),
                tab.locator("#card .readout b").nth(int(side)).inner_text(),
            ]
            shown += tab.locator("#inspector .verdict td").all_text_contents()[:-1]
            shown += tab.locator("#inspector .sum summary b").all_text_contents()
            shown += tab.locator("#inspector .sum td.n").all_text_contents()
            shown += [text.removeprefix("= ") for text in tab.locator("#derivation .numbers.n").all_text_contents()]
            assert max(digits for _, _, digits in map(written, shown)) <= 3, shown
            stored, last, _ = written(shown[0])
            assert abs(stored - getattr(tensor, kind)[cell]) <= (1 if name != "intermediate.dense.weight" else 5) * last
